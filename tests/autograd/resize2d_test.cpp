// The op and its tables against the two-dimensional definition (kernels/op/resize.h), pixel by pixel.
#include "autograd/ops/resize2d.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/autograd/gradient_check.h"
#include "tests/kernels/every_isa.h"
#include "tests/kernels/thread_counts.h"

namespace tw {
namespace {

using kernels::ResizeMode;

auto near(const std::vector<double>& expected, double tolerance) {
  return testing::Pointwise(testing::DoubleNear(tolerance), expected);
}

double naive_kernel(ResizeMode mode, double d, bool antialias) {
  d = std::abs(d);
  if (mode == ResizeMode::bilinear) return d < 1 ? 1 - d : 0;
  const double a = antialias ? -0.5 : -0.75;
  if (d < 1) return (a + 2) * d * d * d - (a + 3) * d * d + 1;
  if (d < 2) return a * d * d * d - 5 * a * d * d + 8 * a * d - 4 * a;
  return 0;
}

// The weight that output o of one axis gives to input i.
double naive_weight(ResizeMode mode, int64_t in, int64_t out, bool antialias, int64_t o, int64_t i) {
  if (mode == ResizeMode::nearest) return i == o * in / out;
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double center = (static_cast<double>(o) + 0.5) * scale - 0.5;
  if (antialias && scale > 1) {
    double total = 0;
    for (int64_t k = 0; k < in; ++k)
      total += naive_kernel(mode, (static_cast<double>(k) - center) / scale, true);
    return naive_kernel(mode, (static_cast<double>(i) - center) / scale, true) / total;
  }
  double weight = 0;  // the edges repeat
  for (int64_t k = -8; k < in + 8; ++k)
    if (std::min(std::max<int64_t>(k, 0), in - 1) == i)
      weight += naive_kernel(mode, static_cast<double>(k) - center, false);
  return weight;
}

Tensor naive(const Tensor& x, int64_t ho, int64_t wo, ResizeMode mode, bool antialias) {
  const Shape s = x.shape();
  Tensor y = Tensor::zeros({s[0], ho, wo, s[3]}, DType::f64);
  const Tensor wide = x.to(DType::f64).contiguous();
  for (int64_t n = 0; n < s[0]; ++n)
    for (int64_t a = 0; a < ho; ++a)
      for (int64_t b = 0; b < wo; ++b)
        for (int64_t i = 0; i < s[1]; ++i)
          for (int64_t j = 0; j < s[2]; ++j) {
            const double weight =
                naive_weight(mode, s[1], ho, antialias, a, i) * naive_weight(mode, s[2], wo, antialias, b, j);
            for (int64_t c = 0; weight != 0 && c < s[3]; ++c)
              y.data<double>()[((n * ho + a) * wo + b) * s[3] + c] +=
                  weight * wide.data<double>()[((n * s[1] + i) * s[2] + j) * s[3] + c];
          }
  return y;
}

class Resize2dTest : public EveryIsa {};

TEST_P(Resize2dTest, MatchesTheDefinition) {
  for (ResizeMode mode : {ResizeMode::nearest, ResizeMode::bilinear, ResizeMode::bicubic})
    for (bool antialias : {false, true})
      for (const auto& [ho, wo] : {std::pair<int64_t, int64_t>{5, 7}, {10, 14}, {3, 2}, {1, 9}, {13, 4}})
        for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
          SCOPED_TRACE(
              detail::join(static_cast<int>(mode), " ", antialias, " ", ho, " ", wo, " ", dtype_name(dtype)));
          const Tensor x = random_tensor({2, 5, 7, 19}, dtype, 1);
          EXPECT_LE(
              max_error(resize2d(Var(x), ho, wo, mode, antialias).value(), naive(x, ho, wo, mode, antialias)),
              dtype == DType::f64   ? 1e-13
              : dtype == DType::f32 ? 1e-6
                                    : 5e-3);
        }
}

TEST_P(Resize2dTest, DoesNotDependOnTheThreadCount) {
  const Var x(random_tensor({3, 20, 31, 17}));
  expect_same_with_two_threads([&] { return resize2d(x, 33, 40, ResizeMode::bicubic).value(); });
}

INSTANTIATE_TEST_SUITE_P(Isa, Resize2dTest, every_isa(), isa_test_name);

// Values that PyTorch documents or that follow by hand.
TEST(Resize2d, KnownValues) {
  const Tensor row = Tensor::from(std::vector<double>{1, 2, 3, 4}, {1, 1, 4, 1});
  EXPECT_THAT(resize2d(Var(row), 1, 8, ResizeMode::bilinear).value().to_vector(),
              near({1, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4}, 1e-12));
  EXPECT_THAT(resize2d(Var(row), 1, 2, ResizeMode::bilinear).value().to_vector(), near({1.5, 3.5}, 1e-12));
  // Triangle of half-width 2 around 0.5: weights 3, 3, 1 of 7 at the edge.
  EXPECT_THAT(resize2d(Var(row), 1, 2, ResizeMode::bilinear, true).value().to_vector(),
              near({12. / 7, 23. / 7}, 1e-12));
  EXPECT_THAT(resize2d(Var(row), 1, 3, ResizeMode::nearest).value().to_vector(), near({1, 2, 3}, 0));
  // torch.nn.functional.interpolate(torch.arange(1., 5).view(1, 1, 2, 2), scale_factor=2, mode='bicubic')
  const Tensor square = Tensor::from(std::vector<double>{1, 2, 3, 4}, {1, 2, 2, 1});
  EXPECT_THAT(resize2d(Var(square), 4, 4, ResizeMode::bicubic).value().to_vector(),
              near({0.6836, 1.0156, 1.5625, 1.8945, 1.3477, 1.6797, 2.2266, 2.5586, 2.4414, 2.7734, 3.3203,
                    3.6523, 3.1055, 3.4375, 3.9844, 4.3164},
                   1e-3));
}

TEST(Resize2dGradient, MatchesFiniteDifferences) {
  for (ResizeMode mode : {ResizeMode::nearest, ResizeMode::bilinear, ResizeMode::bicubic})
    for (bool antialias : {false, true})
      for (const auto& [ho, wo] : {std::pair<int64_t, int64_t>{8, 10}, {2, 3}, {7, 3}})
        expect_gradients_match(
            [&, ho = ho, wo = wo](const std::vector<Var>& in) {
              return resize2d(in[0], ho, wo, mode, antialias);
            },
            {random_tensor({2, 4, 5, 3}, DType::f64, 1)});
}

TEST(Resize2d, RefusesEmptyImagesAndOtherRanks) {
  EXPECT_THROW(resize2d(Var(random_tensor({2, 3, 4})), 2, 2, ResizeMode::bilinear), Error);
  EXPECT_THROW(resize2d(Var(random_tensor({1, 3, 4, 1})), 0, 2, ResizeMode::bilinear), Error);
  EXPECT_THROW(resize2d(Var(random_tensor({1, 0, 4, 1})), 2, 2, ResizeMode::bilinear), Error);
}

}  // namespace
}  // namespace tw
