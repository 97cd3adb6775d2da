#include "kernels/op/layer_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/thread_pool.h"
#include "tensor/error.h"
#include "tests/kernels/every_isa.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

constexpr double eps = 1e-5;

struct Forward {
  Tensor y, mean, rstd;
};

// x (rows, c)
Forward run(const Tensor& x, const Tensor& gamma, const Tensor& beta) {
  const DType moments = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  Forward f{Tensor::empty(x.shape(), x.dtype()), Tensor::empty({x.dim(0)}, moments),
            Tensor::empty({x.dim(0)}, moments)};
  kernels::layer_norm_forward({x.view(), gamma.view(), beta.view()}, eps, f.y.view(), f.mean.view(),
                              f.rstd.view());
  return f;
}

struct Backward {
  Tensor dx, dgamma, dbeta;
};

Backward run_backward(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& dy) {
  const Forward f = run(x, gamma, beta);
  const DType moments = f.mean.dtype();
  Backward b{Tensor::empty(x.shape(), x.dtype()), Tensor::empty({x.dim(1)}, moments),
             Tensor::empty({x.dim(1)}, moments)};
  const Tensor workspace =
      Tensor::empty({kernels::layer_norm_backward_workspace_bytes(x.shape(), x.dtype())}, DType::u8);
  kernels::layer_norm_backward({x.view(), gamma.view(), beta.view()}, f.mean.view(), f.rstd.view(), dy.view(),
                               {b.dx.view(), b.dgamma.view(), b.dbeta.view()}, workspace.view());
  return b;
}

Tensor naive(const Tensor& x, const Tensor& gamma, const Tensor& beta) {
  std::vector<double> values = x.to_vector();
  const std::vector<double> g = gamma.to_vector(), b = beta.to_vector();
  const size_t c = static_cast<size_t>(x.dim(1));
  for (size_t row = 0; row < values.size(); row += c) {
    double mean = 0, variance = 0;
    for (size_t j = 0; j < c; ++j) mean += values[row + j] / static_cast<double>(c);
    for (size_t j = 0; j < c; ++j) variance += std::pow(values[row + j] - mean, 2) / static_cast<double>(c);
    for (size_t j = 0; j < c; ++j)
      values[row + j] = (values[row + j] - mean) / std::sqrt(variance + eps) * g[j] + b[j];
  }
  return Tensor::from(values, x.shape());
}

using LayerNormTest = EveryIsa;

TEST_P(LayerNormTest, MatchesTheFormulaAtOddSizes) {
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 7}, Shape{5, 16}, Shape{70, 33}, Shape{9, 1000}})
    for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      const Tensor x = random_tensor(shape, dtype, 1, 3), gamma = random_tensor({shape[1]}, dtype, 2);
      const Tensor beta = random_tensor({shape[1]}, dtype, 3);
      const double tolerance = dtype == DType::f64 ? 1e-13 : dtype == DType::f32 ? 2e-6 : 6e-3;
      EXPECT_LE(max_error(run(x, gamma, beta).y, naive(x, gamma, beta)), tolerance)
          << shape << dtype_name(dtype);
    }
}

TEST_P(LayerNormTest, ALargeMeanCostsNoDigits) {
  Tensor x = random_tensor({4, 257}, DType::f32, 1);
  for (float& v : x.span<float>()) v += 4096;
  const Tensor one = Tensor::full({257}, 1), zero = Tensor::zeros({257});
  EXPECT_LE(max_error(run(x, one, zero).y, naive(x, one, zero)), 4096 * 2e-7);
}

// The f64 gradients themselves are checked by finite differences.
TEST_P(LayerNormTest, BackwardInF32AndBf16FollowsF64) {
  for (const Shape& shape : {Shape{3, 7}, Shape{70, 33}, Shape{100, 64}})
    for (DType dtype : {DType::f32, DType::bf16}) {
      const DType f64 = DType::f64;
      const Tensor x = random_tensor(shape, dtype, 1, 3), dy = random_tensor(shape, dtype, 5);
      const Tensor gamma = random_tensor({shape[1]}, DType::f32, 2),
                   beta = random_tensor({shape[1]}, DType::f32, 3);
      const Backward result = run_backward(x, gamma, beta, dy);
      const Backward exact = run_backward(x.to(f64), gamma.to(f64), beta.to(f64), dy.to(f64));
      EXPECT_LE(max_error(result.dx, exact.dx), dtype == DType::f32 ? 3e-6 : 6e-3) << shape;
      EXPECT_LE(max_error(result.dgamma, exact.dgamma), 5e-6) << shape;
      EXPECT_LE(max_error(result.dbeta, exact.dbeta), 5e-6) << shape;
    }
}

TEST_P(LayerNormTest, IsTheSameForAnyThreadCountAndBatch) {
  const int threads = kernels::thread_count();
  const Tensor x = random_tensor({333, 50}), dy = random_tensor({333, 50}, DType::f32, 1);
  const Tensor gamma = random_tensor({50}, DType::f32, 2), beta = random_tensor({50}, DType::f32, 3);
  kernels::set_thread_count(1);
  const Tensor y = run(x, gamma, beta).y;
  const Backward alone = run_backward(x, gamma, beta, dy);
  kernels::set_thread_count(2);
  EXPECT_EQ(run(x, gamma, beta).y.to_vector(), y.to_vector());
  EXPECT_EQ(run(x.slice(0, 3, 40), gamma, beta).y.to_vector(), y.slice(0, 3, 40).to_vector());
  const Backward both = run_backward(x, gamma, beta, dy);
  kernels::set_thread_count(threads);
  EXPECT_EQ(both.dx.to_vector(), alone.dx.to_vector());
  EXPECT_EQ(both.dgamma.to_vector(), alone.dgamma.to_vector());
  EXPECT_EQ(both.dbeta.to_vector(), alone.dbeta.to_vector());
}

TEST_P(LayerNormTest, WritesInPlaceAndNowhereElse) {
  const Tensor x = random_tensor({3, 13}), gamma = random_tensor({13}, DType::f32, 1);
  const Tensor buffer = Tensor::full({64 + 39 + 64}, 7);
  Tensor inside = buffer.slice(0, 64, 103).reshape({3, 13});
  inside.copy_from(x);
  const Tensor mean = Tensor::empty({3}), rstd = Tensor::empty({3});
  kernels::layer_norm_forward({inside.view(), gamma.view(), {}}, eps, inside.view(), mean.view(),
                              rstd.view());
  EXPECT_EQ(inside.to_vector(), run(x, gamma, {}).y.to_vector());
  for (const Tensor& edge : {buffer.slice(0, 0, 64), buffer.slice(0, 103, 167)})
    for (double v : edge.to_vector()) ASSERT_EQ(v, 7);
}

INSTANTIATE_TEST_SUITE_P(Isa, LayerNormTest, every_isa(), isa_test_name);

TEST(LayerNormErrors, NameTheArgument) {
  const Tensor x = random_tensor({3, 13}), gamma = random_tensor({13});
  EXPECT_THROW(run(x, random_tensor({12}), gamma), Error);
  EXPECT_THROW(run(x, gamma, gamma.to(DType::f64)), Error);
}

}  // namespace
}  // namespace tw
