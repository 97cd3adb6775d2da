#include "diffusion/metric/psnr.h"

#include <cmath>
#include <limits>

#include "tensor/error.h"

namespace tw {

std::vector<double> psnr(const Tensor& a, const Tensor& b, const PsnrParams& params) {
  check(a.shape() == b.shape() && a.rank() >= 2, "psnr",
        "expected two batches of images of one shape, found ", a.shape(), " and ", b.shape());
  check(params.range > 0, "psnr", "the range must be positive, found ", params.range);
  std::vector<double> values;
  for (int64_t i = 0; i < a.dim(0); ++i) {
    const std::vector<double> pa = a.select(0, i).to_vector(), pb = b.select(0, i).to_vector();
    double sum = 0;
    for (size_t j = 0; j < pa.size(); ++j) sum += (pa[j] - pb[j]) * (pa[j] - pb[j]);
    const double mse = sum / static_cast<double>(pa.size());
    values.push_back(mse == 0 ? std::numeric_limits<double>::infinity()
                              : 10 * std::log10(params.range * params.range / mse));
  }
  return values;
}

std::string definition(const PsnrParams& params) {
  return detail::join("PSNR in dB: range ", params.range,
                      ", MSE over pixels and channels of each image, no crop, f64");
}

}  // namespace tw
