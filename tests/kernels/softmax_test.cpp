#include "kernels/op/softmax.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/thread_pool.h"
#include "tensor/error.h"
#include "tests/kernels/every_isa.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

Tensor run(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  kernels::softmax_forward(x.view(), y.view());
  return y;
}

Tensor naive(const Tensor& x) {
  std::vector<double> values = x.to_vector();
  const size_t c = static_cast<size_t>(x.shape().back());
  for (size_t row = 0; row < values.size(); row += c) {
    double top = values[row], sum = 0;
    for (size_t j = row; j < row + c; ++j) top = std::max(top, values[j]);
    for (size_t j = row; j < row + c; ++j) sum += values[j] = std::exp(values[j] - top);
    for (size_t j = row; j < row + c; ++j) values[j] /= sum;
  }
  return Tensor::from(values, x.shape());
}

using SoftmaxTest = EveryIsa;

TEST_P(SoftmaxTest, MatchesTheFormulaAtOddSizes) {
  for (const Shape& shape :
       {Shape{1}, Shape{3, 7}, Shape{2, 5, 16}, Shape{4, 33}, Shape{1000, 12}, Shape{3, 1000}})
    for (DType dtype : {DType::f32, DType::f64, DType::bf16})
      for (double scale : {1.0, 300.0}) {
        const Tensor x = random_tensor(shape, dtype, 1, scale);
        const double tolerance = dtype == DType::f64 ? 1e-14 : dtype == DType::f32 ? 1e-6 : 4e-3;
        EXPECT_LE(max_error(run(x), naive(x)), tolerance) << shape << dtype_name(dtype) << scale;
      }
}

TEST_P(SoftmaxTest, BackwardFollowsTheFormula) {
  for (const Shape& shape : {Shape{3, 7}, Shape{50, 33}})
    for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      const Tensor y = run(random_tensor(shape, dtype, 1, 3)), dy = random_tensor(shape, dtype, 2);
      const std::vector<double> p = y.to_vector(), g = dy.to_vector();
      std::vector<double> expected(p.size());
      const size_t c = static_cast<size_t>(shape.back());
      for (size_t row = 0; row < p.size(); row += c) {
        double sum = 0;
        for (size_t j = row; j < row + c; ++j) sum += p[j] * g[j];
        for (size_t j = row; j < row + c; ++j) expected[j] = p[j] * (g[j] - sum);
      }
      kernels::softmax_backward(y.view(), dy.view(), dy.view());  // in place
      EXPECT_LE(max_error(dy, Tensor::from(expected, shape)), dtype == DType::bf16 ? 4e-3 : 1e-6);
    }
}

TEST_P(SoftmaxTest, IsTheSameInPlaceForAnyThreadCountAndBatch) {
  const int threads = kernels::thread_count();
  const Tensor x = random_tensor({700, 37}, DType::f32, 1, 4);
  kernels::set_thread_count(1);
  const Tensor alone = run(x);
  kernels::set_thread_count(2);
  EXPECT_EQ(run(x).to_vector(), alone.to_vector());
  EXPECT_EQ(run(x.slice(0, 5, 9)).to_vector(), alone.slice(0, 5, 9).to_vector());
  kernels::softmax_forward(x.view(), x.view());
  EXPECT_EQ(x.to_vector(), alone.to_vector());
  kernels::set_thread_count(threads);
}

TEST_P(SoftmaxTest, WritesNowhereElse) {
  const Tensor buffer = Tensor::full({64 + 3 * 13 + 64}, 7);
  const Tensor inside = buffer.slice(0, 64, 64 + 39).reshape({3, 13});
  kernels::softmax_forward(random_tensor({3, 13}).view(), inside.view());
  for (const Tensor& edge : {buffer.slice(0, 0, 64), buffer.slice(0, 103, 167)})
    for (double v : edge.to_vector()) ASSERT_EQ(v, 7);
}

INSTANTIATE_TEST_SUITE_P(Isa, SoftmaxTest, every_isa(), isa_test_name);

TEST(SoftmaxErrors, ShapesMustAgree) {
  EXPECT_THROW(kernels::softmax_forward(random_tensor({2, 3}).view(), random_tensor({3, 2}).view()), Error);
  EXPECT_THROW(kernels::softmax_forward(random_tensor({}).view(), random_tensor({}).view()), Error);
}

}  // namespace
}  // namespace tw
