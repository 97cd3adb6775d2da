#include "diffusion/metric/ssim.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "diffusion/metric/psnr.h"
#include "tensor/error.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

// The pair of images of tests/reference/ssim.py.
Tensor image(bool degraded) {
  std::vector<double> values;
  for (int y = 0; y < 19; ++y)
    for (int x = 0; x < 23; ++x)
      for (int c = 0; c < 3; ++c) {
        const double clean = std::sin(0.37 * x + 0.21 * y + c);
        values.push_back(degraded ? 0.8 * clean + 0.15 * std::cos(1.9 * x - 2.3 * y + 0.7 * c) + 0.05
                                  : clean);
      }
  return Tensor::from(values, Shape{1, 19, 23, 3});
}

TEST(Ssim, MatchesADirectImplementation) {
  EXPECT_NEAR(ssim(image(false), image(true), {.range = 2})[0], 0.8493177240812226, 1e-12);
  EXPECT_NEAR(ssim(image(false), image(true), {.range = 2, .window = SsimWindow::uniform_7})[0],
              0.8500722257910797, 1e-12);
}

TEST(Psnr, MatchesADirectImplementation) {
  EXPECT_NEAR(psnr(image(false), image(true), {.range = 2})[0], 20.62945877089666, 1e-10);
  const Tensor zero = Tensor::zeros({1, 4, 4, 1}), tenth = Tensor::full({1, 4, 4, 1}, 0.1, DType::f64);
  EXPECT_NEAR(psnr(zero, tenth, {.range = 1})[0], 20, 1e-12);
  EXPECT_EQ(psnr(zero, zero)[0], std::numeric_limits<double>::infinity());
}

TEST(Metrics, DoNotChangeWithTheScaleOfDataAndRange) {
  const Tensor a = image(false), b = image(true);
  const auto scaled = [](const Tensor& t) {
    std::vector<double> v = t.to_vector();
    for (double& x : v) x = (x + 1) * 127.5;
    return Tensor::from(v, t.shape());
  };
  EXPECT_NEAR(psnr(scaled(a), scaled(b), {.range = 255})[0], psnr(a, b, {.range = 2})[0], 1e-10);
  // SSIM's luminance term sees the offset, so only the scale may change.
  const auto doubled = [](const Tensor& t) {
    std::vector<double> v = t.to_vector();
    for (double& x : v) x *= 2;
    return Tensor::from(v, t.shape());
  };
  EXPECT_NEAR(ssim(doubled(a), doubled(b), {.range = 4})[0], ssim(a, b, {.range = 2})[0], 1e-12);
}

TEST(Metrics, AreOfEachImageOnItsOwn) {
  const Tensor a = random_tensor({3, 12, 13, 2}, DType::f32, 1),
               b = random_tensor({3, 12, 13, 2}, DType::f32, 2);
  EXPECT_EQ(ssim(a, b)[1], ssim(a.slice(0, 1, 2), b.slice(0, 1, 2))[0]);
  EXPECT_EQ(psnr(a, b)[1], psnr(a.slice(0, 1, 2), b.slice(0, 1, 2))[0]);
  EXPECT_NEAR(ssim(a, a)[2], 1, 1e-12);
}

TEST(Metrics, SayHowTheyAreDefined) {
  EXPECT_EQ(definition(PsnrParams{.range = 2}),
            "PSNR in dB: range 2, MSE over pixels and channels of each image, no crop, f64");
  EXPECT_EQ(definition(SsimParams{.range = 1}),
            "SSIM: range 1, window 11x11 Gaussian sigma 1.5, K1 0.01, K2 0.03, population covariance, "
            "windows inside the image only, mean over pixels then channels, f64");
  EXPECT_NE(definition(SsimParams{.window = SsimWindow::uniform_7}).find("7x7 uniform"), std::string::npos);
}

TEST(Metrics, RefuseWhatDoesNotFit) {
  const Tensor small = Tensor::zeros({1, 10, 10, 1});
  EXPECT_THROW(ssim(small, small), Error);
  EXPECT_NO_THROW(ssim(small, small, {.window = SsimWindow::uniform_7}));
  EXPECT_THROW(psnr(small, Tensor::zeros({1, 10, 9, 1})), Error);
  EXPECT_THROW(psnr(small, small, {.range = 0}), Error);
}

}  // namespace
}  // namespace tw
