#include "kernels/op/activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/kernels/every_isa.h"
#include "tests/kernels/thread_counts.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

using kernels::Activation;
using kernels::ActivationParams;

constexpr Activation all[] = {Activation::silu,    Activation::relu,      Activation::leaky_relu,
                              Activation::gelu,    Activation::gelu_tanh, Activation::tanh,
                              Activation::sigmoid, Activation::softplus};
constexpr double slope = 0.2;

double naive(Activation kind, double x) {
  switch (kind) {
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::relu:
      return x > 0 ? x : 0;
    case Activation::leaky_relu:
      return x > 0 ? x : slope * x;
    case Activation::gelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::tanh:
      return std::tanh(x);
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::softplus:
      return x > 30 ? x : std::log1p(std::exp(x));
  }
  return NAN;
}

// By a central difference whose error is far below that of f32.
double naive_derivative(Activation kind, double x) {
  const double step = 1e-6;
  return (naive(kind, x + step) - naive(kind, x - step)) / (2 * step);
}

Tensor forward(Activation kind, const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  kernels::activation_forward({.kind = kind, .negative_slope = slope}, x.view(), y.view());
  return y;
}

Tensor backward(Activation kind, const Tensor& x, const Tensor& dy) {
  Tensor dx = Tensor::empty(x.shape(), x.dtype());
  kernels::activation_backward({.kind = kind, .negative_slope = slope}, x.view(), dy.view(), dx.view());
  return dx;
}

class ActivationTest : public EveryIsa {};

TEST_P(ActivationTest, MatchesTheFormulaAtOddSizes) {
  for (Activation kind : all)
    for (DType dtype : {DType::f32, DType::f64, DType::bf16})
      for (int64_t n : {1, 7, 16, 33, 10007}) {
        SCOPED_TRACE(detail::join("activation ", static_cast<int>(kind), " ", dtype_name(dtype), " of ", n));
        const Tensor x = random_tensor({n}, dtype, 1, n % 2 ? 12 : 1), dy = random_tensor({n}, dtype, 2);
        const auto vx = x.to_vector(), vdy = dy.to_vector(), y = forward(kind, x).to_vector();
        const auto dx = backward(kind, x, dy).to_vector();
        const double unit = dtype == DType::f64 ? 1e-9 : dtype == DType::f32 ? 4e-7 : 4e-3;
        for (size_t i = 0; i < vx.size(); ++i) {
          const double expected = naive(kind, vx[i]);
          ASSERT_NEAR(y[i], expected, unit * std::max(1.0, std::abs(expected))) << "at " << vx[i];
          if (std::abs(vx[i]) > 1e-5) {
            const double derivative = naive_derivative(kind, vx[i]);
            ASSERT_NEAR(dx[i], vdy[i] * derivative, 3 * unit + 1e-9) << "derivative at " << vx[i];
          }
        }
      }
}

TEST_P(ActivationTest, SmallValuesKeepTheirRelativePrecision) {
  std::vector<float> values;
  for (float v = 1e-30f; v < 1; v *= 1.7f) values.insert(values.end(), {v, -v});
  const Tensor x = Tensor::from(values);
  for (Activation kind : {Activation::tanh, Activation::silu, Activation::gelu}) {
    const auto y = forward(kind, x).to_vector();
    for (size_t i = 0; i < values.size(); ++i) {
      const double expected = naive(kind, static_cast<double>(values[i]));
      // For negative x, Phi(x) comes from 1 + erf(x / sqrt 2), which loses a few bits.
      ASSERT_NEAR(y[i], expected, 1e-6 * std::abs(expected)) << values[i];
    }
  }
}

TEST_P(ActivationTest, SigmoidKeepsItsRelativePrecisionInTheTail) {
  std::vector<float> values;
  for (float v = -85; v < 20; v += 0.0137f) values.push_back(v);
  const Tensor x = Tensor::from(values);
  const auto y = forward(Activation::sigmoid, x).to_vector();
  for (size_t i = 0; i < values.size(); ++i) {
    const double expected = naive(Activation::sigmoid, static_cast<double>(values[i]));
    // The exponent -x / ln 2 is rounded: 2^-24 of it, in units of ln 2.
    const double limit = 4e-7 + 6e-8 * std::abs(std::min(values[i], 0.0f));
    ASSERT_NEAR(y[i], expected, limit * expected) << values[i];
  }
}

TEST_P(ActivationTest, LimitsAndNan) {
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor x = Tensor::from(std::vector<float>{-1e30f, -200, 200, 1e30f, NAN});
  const double expected[][4] = {{0, 0, 200, 1e30}, {0, 0, 200, 1e30}, {-0.2e30, -40, 200, 1e30},
                                {0, 0, 200, 1e30}, {0, 0, 200, 1e30}, {-1, -1, 1, 1},
                                {0, 0, 1, 1},      {0, 0, 200, 1e30}};
  for (Activation kind : all) {
    const auto y = forward(kind, x).to_vector();
    for (size_t i = 0; i < 4; ++i) {
      const double e = expected[static_cast<size_t>(kind)][i];
      EXPECT_NEAR(y[i], e, 1e-6 * std::max(1.0, std::abs(e))) << static_cast<int>(kind) << " at " << i;
    }
    EXPECT_TRUE(std::isnan(y[4])) << static_cast<int>(kind);
  }
  EXPECT_EQ(forward(Activation::tanh, Tensor::from(std::vector<float>{inf, -inf})).to_vector(),
            (std::vector<double>{1, -1}));
}

TEST_P(ActivationTest, WorksInPlaceAndStaysInItsBuffer) {
  Tensor guarded = Tensor::full({3 + 21 + 3}, 7);
  Tensor inside = guarded.slice(0, 3, 24);
  inside.copy_from(random_tensor({21}));
  const Tensor expected = forward(Activation::gelu, inside.clone());
  kernels::activation_forward({.kind = Activation::gelu}, inside.view(), inside.view());
  EXPECT_EQ(inside.to_vector(), expected.to_vector());
  for (int64_t i : {0, 1, 2, 24, 25, 26}) EXPECT_EQ(guarded.data<float>()[i], 7) << i;
}

TEST_P(ActivationTest, DoesNotDependOnTheThreadCount) {
  const Tensor x = random_tensor({100003}, DType::f32, 1, 5);
  for (Activation kind : all) {
    expect_same_with_two_threads([&] { return forward(kind, x); });
    expect_same_with_two_threads([&] { return backward(kind, x, x); });
  }
}

TEST(Activation, RefusesOtherTypesAndShapes) {
  const Tensor x = random_tensor({3});
  EXPECT_THROW(kernels::activation_forward({}, x.view(), Tensor::empty({4}).view()), Error);
  EXPECT_THROW(kernels::activation_forward({}, x.view(), Tensor::empty({3}, DType::f64).view()), Error);
  const Tensor i = Tensor::empty({3}, DType::i32);
  EXPECT_THROW(kernels::activation_forward({}, i.view(), i.view()), Error);
}

INSTANTIATE_TEST_SUITE_P(Isa, ActivationTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
