#include "autograd/ops/fft2d.h"

#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

using kernels::FftNorm;

TEST(Fft2dGradient, MatchesFiniteDifferences) {
  for (const FftNorm norm : {FftNorm::backward, FftNorm::ortho, FftNorm::forward})
    for (const auto& [h, w] : {std::pair<int64_t, int64_t>{4, 6}, {5, 3}, {1, 8}, {3, 1}}) {
      SCOPED_TRACE(detail::join(static_cast<int>(norm), " ", h, " ", w));
      for (const bool centred : {false, true}) {
        const auto both = [&, norm = norm](const std::vector<Var>& in) {
          return fft2d(in[0], norm, centred);
        };
        const auto back = [&, norm = norm](const std::vector<Var>& in) {
          return ifft2d(in[0], norm, centred);
        };
        const Tensor x = random_tensor({2, h, w, 2, 2}, DType::f64, 1);
        expect_gradients_match(both, {x});
        expect_gradients_match(back, {x});
      }
      const int64_t width = w;
      expect_gradients_match([&](const std::vector<Var>& in) { return rfft2d(in[0], norm); },
                             {random_tensor({2, h, w, 2}, DType::f64, 1)});
      expect_gradients_match([&](const std::vector<Var>& in) { return irfft2d(in[0], width, norm); },
                             {random_tensor({2, h, w / 2 + 1, 2, 2}, DType::f64, 1)});
    }
}

TEST(Fft2d, BothDirectionsAreInverse) {
  const Tensor x = random_tensor({2, 9, 14, 3, 2}, DType::f64, 1),
               image = random_tensor({2, 9, 13, 3}, DType::f64, 2);
  for (const FftNorm norm : {FftNorm::backward, FftNorm::ortho, FftNorm::forward}) {
    EXPECT_LE(max_error(ifft2d(fft2d(Var(x), norm, true), norm, true).value(), x), 1e-14);
    EXPECT_LE(max_error(irfft2d(rfft2d(Var(image), norm), 13, norm).value(), image), 1e-14);
  }
}

TEST(Fft2d, RefusesOtherShapesAndTypes) {
  const Var image(random_tensor({1, 4, 4, 2})), spectrum(random_tensor({1, 4, 3, 2, 2}));
  EXPECT_THROW(fft2d(image), Error);
  EXPECT_THROW(rfft2d(spectrum), Error);
  EXPECT_THROW(irfft2d(spectrum, 6), Error);
  EXPECT_THROW(irfft2d(spectrum, 0), Error);
  EXPECT_THROW(rfft2d(Var(random_tensor({1, 4, 4, 2}, DType::bf16))), Error);
}

}  // namespace
}  // namespace tw
