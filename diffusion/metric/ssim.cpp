#include "diffusion/metric/ssim.h"

#include <cmath>

#include "tensor/error.h"

namespace tw {
namespace {

std::vector<double> taps_of(SsimWindow window) {
  if (window == SsimWindow::uniform_7) return std::vector<double>(7, 1.0 / 7);
  std::vector<double> taps;
  double sum = 0;
  for (int i = -5; i <= 5; ++i) {
    taps.push_back(std::exp(-i * i / (2 * 1.5 * 1.5)));
    sum += taps.back();
  }
  for (double& tap : taps) tap /= sum;
  return taps;
}

struct Plane {
  size_t h, w;
  std::vector<double> values;
};

// The weighted mean around each pixel whose window fits: (h, w) -> (h - k + 1, w - k + 1).
Plane window_means(const Plane& in, const std::vector<double>& taps) {
  const size_t k = taps.size(), h = in.h - k + 1, w = in.w - k + 1;
  Plane rows{in.h, w, std::vector<double>(in.h * w, 0.0)}, out{h, w, std::vector<double>(h * w, 0.0)};
  for (size_t y = 0; y < in.h; ++y)
    for (size_t x = 0; x < w; ++x)
      for (size_t i = 0; i < k; ++i) rows.values[y * w + x] += taps[i] * in.values[y * in.w + x + i];
  for (size_t y = 0; y < h; ++y)
    for (size_t i = 0; i < k; ++i)
      for (size_t x = 0; x < w; ++x) out.values[y * w + x] += taps[i] * rows.values[(y + i) * w + x];
  return out;
}

Plane product(const Plane& a, const Plane& b) {
  Plane p = a;
  for (size_t i = 0; i < p.values.size(); ++i) p.values[i] *= b.values[i];
  return p;
}

double ssim_of_plane(const Plane& a, const Plane& b, const SsimParams& params) {
  const std::vector<double> taps = taps_of(params.window);
  const double C1 = std::pow(params.k1 * params.range, 2), C2 = std::pow(params.k2 * params.range, 2);
  const double sample = params.window == SsimWindow::uniform_7 ? 49.0 / 48 : 1;
  const Plane mu_a = window_means(a, taps), mu_b = window_means(b, taps);
  const Plane aa = window_means(product(a, a), taps), bb = window_means(product(b, b), taps),
              ab = window_means(product(a, b), taps);
  double sum = 0;
  for (size_t i = 0; i < mu_a.values.size(); ++i) {
    const double ma = mu_a.values[i], mb = mu_b.values[i];
    const double var_a = sample * (aa.values[i] - ma * ma), var_b = sample * (bb.values[i] - mb * mb);
    const double cov = sample * (ab.values[i] - ma * mb);
    sum += (2 * ma * mb + C1) * (2 * cov + C2) / ((ma * ma + mb * mb + C1) * (var_a + var_b + C2));
  }
  return sum / static_cast<double>(mu_a.values.size());
}

}  // namespace

std::vector<double> ssim(const Tensor& a, const Tensor& b, const SsimParams& params) {
  check(a.shape() == b.shape() && a.rank() == 4, "ssim",
        "expected two batches (n, h, w, c) of one shape, found ", a.shape(), " and ", b.shape());
  check(params.range > 0, "ssim", "the range must be positive, found ", params.range);
  const int64_t window = static_cast<int64_t>(taps_of(params.window).size());
  check(a.dim(1) >= window && a.dim(2) >= window && a.dim(3) >= 1, "ssim", "needs images of at least ",
        window, " x ", window, " pixels, found ", a.shape());
  const auto plane = [](const Tensor& t, int64_t i, int64_t c) {
    return Plane{static_cast<size_t>(t.dim(1)), static_cast<size_t>(t.dim(2)),
                 t.select(0, i).select(2, c).to_vector()};
  };
  std::vector<double> values;
  for (int64_t i = 0; i < a.dim(0); ++i) {
    double sum = 0;
    for (int64_t c = 0; c < a.dim(3); ++c) sum += ssim_of_plane(plane(a, i, c), plane(b, i, c), params);
    values.push_back(sum / static_cast<double>(a.dim(3)));
  }
  return values;
}

std::string definition(const SsimParams& params) {
  const bool gaussian = params.window == SsimWindow::gaussian_11;
  return detail::join("SSIM: range ", params.range, ", window ",
                      gaussian ? "11x11 Gaussian sigma 1.5" : "7x7 uniform", ", K1 ", params.k1, ", K2 ",
                      params.k2, ", ", gaussian ? "population" : "sample",
                      " covariance, windows inside the image only, mean over pixels then channels, f64");
}

}  // namespace tw
