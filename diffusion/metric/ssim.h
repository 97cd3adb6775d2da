// Structural similarity (Wang, Bovik, Sheikh & Simoncelli 2004, eq. 13), the mean of the local map
//
//   SSIM = (2 mu_a mu_b + C1) (2 s_ab + C2) / ((mu_a^2 + mu_b^2 + C1) (s_a^2 + s_b^2 + C2)),   C = (K
//   range)^2
//
// where mu and s are weighted by a window around each pixel. The window, the kind of covariance and the
// border move the third digit, so `definition` goes into every report beside the value.
#pragma once

#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace tw {

enum class SsimWindow {
  gaussian_11,  // 11 x 11 Gaussian, sigma 1.5, population covariance: the paper, and most published numbers
  uniform_7,    // 7 x 7 mean, sample covariance (times 49 / 48): scikit-image's default
};

struct SsimParams {
  double range = 2;  // maximum minus minimum of the data: 2 for [-1, 1], 1 for [0, 1], 255 for 8 bits
  SsimWindow window = SsimWindow::gaussian_11;
  double k1 = 0.01, k2 = 0.03;
};

// a, b: (n, h, w, c) of one shape, any floating dtype or u8. One value per image in f64: the mean over the
// channels and over the pixels whose window lies inside the image. Throws when an image is smaller than the
// window.
std::vector<double> ssim(const Tensor& a, const Tensor& b, const SsimParams& params = {});

// "SSIM: range 2, window 11x11 Gaussian sigma 1.5, K1 0.01, K2 0.03, population covariance, ..."
std::string definition(const SsimParams& params);

}  // namespace tw
