#include "kernels/op/unary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/every_isa.h"
#include "tests/kernels/thread_counts.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

using kernels::Unary;
using kernels::UnaryParams;

const UnaryParams all[] = {{.kind = Unary::affine, .a = -2.5, .b = 0.75},
                           {.kind = Unary::exp},
                           {.kind = Unary::log},
                           {.kind = Unary::sqrt},
                           {.kind = Unary::square},
                           {.kind = Unary::abs},
                           {.kind = Unary::clamp, .a = -0.5, .b = 1.5}};

double naive(const UnaryParams& p, double x) {
  switch (p.kind) {
    case Unary::affine:
      return p.a * x + p.b;
    case Unary::exp:
      return std::exp(x);
    case Unary::log:
      return std::log(x);
    case Unary::sqrt:
      return std::sqrt(x);
    case Unary::square:
      return x * x;
    case Unary::abs:
      return std::abs(x);
    case Unary::clamp:
      return std::min(std::max(x, p.a), p.b);
  }
  return NAN;
}

double naive_derivative(const UnaryParams& p, double x) {
  switch (p.kind) {
    case Unary::affine:
      return p.a;
    case Unary::exp:
      return std::exp(x);
    case Unary::log:
      return 1 / x;
    case Unary::sqrt:
      return 0.5 / std::sqrt(x);
    case Unary::square:
      return 2 * x;
    case Unary::abs:
      return x > 0 ? 1 : x < 0 ? -1 : 0;
    case Unary::clamp:
      return x >= p.a && x <= p.b ? 1 : 0;
  }
  return NAN;
}

Tensor forward(const UnaryParams& p, const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  kernels::unary_forward(p, x.view(), y.view());
  return y;
}

class UnaryTest : public EveryIsa {};

TEST_P(UnaryTest, BothDirectionsMatchTheFormula) {
  for (const UnaryParams& p : all)
    for (DType dtype : {DType::f32, DType::f64, DType::bf16})
      for (int64_t n : {1, 15, 33, 2001}) {
        SCOPED_TRACE(detail::join(kernels::unary_name(p.kind), " ", dtype_name(dtype), " of ", n));
        Tensor x = random_tensor({n}, DType::f64, 1, 3);
        if (p.kind == Unary::log || p.kind == Unary::sqrt)
          for (double& v : x.span<double>()) v = 0.01 + std::abs(v);
        x = x.to(dtype);
        const Tensor dy = random_tensor({n}, dtype, 2), y = forward(p, x);
        Tensor dx = Tensor::empty({n}, dtype);
        kernels::unary_backward(p,
                                kernels::unary_saves(p.kind) == kernels::UnarySaves::y ? y.view() : x.view(),
                                dy.view(), dx.view());
        std::vector<double> ey, edx;
        for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
          ey.push_back(naive(p, x.to_vector()[i]));
          edx.push_back(dy.to_vector()[i] * naive_derivative(p, x.to_vector()[i]));
          if (n > 100) i += 12;
        }
        const auto vy = y.to_vector(), vdx = dx.to_vector();
        const double unit = dtype == DType::f64 ? 1e-14 : dtype == DType::f32 ? 5e-7 : 9e-3;
        for (size_t k = 0; k < ey.size(); ++k) {
          const size_t i = n > 100 ? 13 * k : k;
          ASSERT_NEAR(vy[i], ey[k], unit * std::max(1.0, std::abs(ey[k])));
          ASSERT_NEAR(vdx[i], edx[k], unit * std::max(1.0, std::abs(edx[k])));
        }
      }
}

TEST_P(UnaryTest, LogAndExpOverTheWholeRange) {
  std::vector<float> values;
  for (float v = 1e-44f; v < 3e38f; v *= 1.37f) values.push_back(v);
  for (float v = 0.9f; v < 1.1f; v += 1e-4f) values.push_back(v);
  auto y = forward({.kind = Unary::log}, Tensor::from(values)).to_vector();
  for (size_t i = 0; i < values.size(); ++i) {
    const double expected = std::log(static_cast<double>(values[i]));
    ASSERT_NEAR(y[i], expected, 2.5e-7 * std::abs(expected)) << values[i];
  }
  values.clear();
  for (float v = -87; v < 88.7f; v += 0.173f) values.push_back(v);
  y = forward({.kind = Unary::exp}, Tensor::from(values)).to_vector();
  for (size_t i = 0; i < values.size(); ++i) {
    const double expected = std::exp(static_cast<double>(values[i]));
    ASSERT_NEAR(y[i], expected, 3e-7 * expected) << values[i];
  }
}

TEST_P(UnaryTest, LimitsAndNan) {
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor x = Tensor::from(std::vector<float>{0, -1, inf, NAN, -inf});
  const auto log = forward({.kind = Unary::log}, x).to_vector();
  EXPECT_EQ(log[0], -inf);
  EXPECT_TRUE(std::isnan(log[1]));
  EXPECT_EQ(log[2], inf);
  EXPECT_TRUE(std::isnan(log[3]));
  const auto exp = forward({.kind = Unary::exp}, x).to_vector();
  EXPECT_EQ(exp[0], 1);
  EXPECT_EQ(exp[2], inf);
  EXPECT_TRUE(std::isnan(exp[3]));
  EXPECT_EQ(exp[4], 0);
  EXPECT_TRUE(std::isnan(forward({.kind = Unary::sqrt}, x).to_vector()[1]));
  EXPECT_TRUE(std::isnan(forward({.kind = Unary::clamp, .a = -1, .b = 1}, x).to_vector()[3]));
}

TEST_P(UnaryTest, DoesNotDependOnTheThreadCount) {
  Tensor x = random_tensor({100003});
  for (float& v : x.span<float>()) v = 0.1f + std::abs(v);
  for (const UnaryParams& p : all) expect_same_with_two_threads([&] { return forward(p, x); });
}

INSTANTIATE_TEST_SUITE_P(Isa, UnaryTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
