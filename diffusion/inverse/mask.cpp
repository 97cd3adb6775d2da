#include "diffusion/inverse/mask.h"

#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "autograd/ops/binary.h"
#include "tensor/error.h"
#include "tensor/random.h"
#include "tensor/transfer.h"

namespace tw {

Mask::Mask(const Tensor& known, Device device)
    : known_(to_device(known.to(DType::f32).contiguous(), Device::cpu)), placed_(to_device(known_, device)) {
  check(known_.rank() == 3, "mask", "must be (h, w, 1) or (h, w, c), found ", known_.shape());
  for (float value : known_.span<float>())
    check(value == 0 || value == 1, "mask", "must hold 0 (missing) and 1 (known), found ", value);
}

Tensor Mask::apply(const Tensor& x) const {
  check(x.rank() == 4 && x.dim(1) == known_.dim(0) && x.dim(2) == known_.dim(1) &&
            (known_.dim(2) == 1 || known_.dim(2) == x.dim(3)),
        "mask", "a mask of ", known_.shape(), " does not fit images of ", x.shape());
  const NoGrad no_grad;
  return mul(x, placed_.to(x.dtype())).value();
}

double Mask::known_fraction() const {
  const auto values = known_.span<float>();
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

Tensor box_mask(int64_t h, int64_t w, int64_t top, int64_t left, int64_t height, int64_t width) {
  check(top >= 0 && left >= 0 && height >= 0 && width >= 0 && top + height <= h && left + width <= w,
        "box mask", "a box of ", height, " x ", width, " at (", top, ", ", left, ") leaves the image of ", h,
        " x ", w);
  Tensor known = Tensor::full({h, w, 1}, 1);
  known.slice(0, top, top + height).slice(1, left, left + width).fill(0);
  return known;
}

Tensor random_mask(int64_t h, int64_t w, double missing, uint64_t seed) {
  check(missing >= 0 && missing <= 1, "random mask", "the missing fraction must lie in [0, 1], found ",
        missing);
  std::vector<float> known(static_cast<size_t>(h * w), 1.0f);
  const auto count = static_cast<size_t>(std::nearbyint(missing * static_cast<double>(h * w)));
  std::vector<size_t> order(known.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // Step 1: the measurement noise of the same seed is step 0.
  const RandomKey key{.seed = seed, .sample = 0, .step = 1, .purpose = Purpose::measurement};
  for (size_t i = 0; i < count; ++i) {  // the first `count` of a Fisher-Yates shuffle
    std::swap(order[i], order[i + random_below(key, i, order.size() - i)]);
    known[order[i]] = 0;
  }
  return Tensor::from(known, Shape{h, w, 1});
}

Tensor mask_from_image(const Tensor& picture, double threshold) {
  check(picture.rank() == 3 && picture.dim(2) >= 1, "mask", "expected a picture (h, w, c), found ",
        picture.shape());
  const std::vector<double> values = picture.to_vector();
  const size_t channels = static_cast<size_t>(picture.dim(2));
  std::vector<float> known;
  for (size_t i = 0; i < values.size(); i += channels) {
    const auto pixel = values.begin() + static_cast<std::ptrdiff_t>(i);
    const double sum = std::accumulate(pixel, pixel + static_cast<std::ptrdiff_t>(channels), 0.0);
    known.push_back(sum / static_cast<double>(channels) >= threshold ? 1.0f : 0.0f);
  }
  return Tensor::from(known, Shape{picture.dim(0), picture.dim(1), 1});
}

}  // namespace tw
