#include "kernels/op/residual_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/thread_pool.h"
#include "tensor/error.h"
#include "tests/kernels/every_isa.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

using kernels::ResidualKind;
using ResidualNormTest = EveryIsa;

TEST_P(ResidualNormTest, MatchesTheFormulaAndItsDerivative) {
  for (DType dtype : {DType::f32, DType::f64, DType::bf16})
    for (const Shape& shape : {Shape{1, 1}, Shape{3, 7, 5, 3}, Shape{2, 61, 67, 3}}) {
      const DType loss_dtype = dtype == DType::f64 ? DType::f64 : DType::f32;
      const Tensor y = random_tensor(shape, dtype, 1), a = random_tensor(shape, dtype, 2);
      const Tensor dloss = random_tensor({shape[0]}, loss_dtype, 3);
      const size_t size = static_cast<size_t>(shape.numel() / shape[0]);
      const auto vy = y.to_vector(), va = a.to_vector(), vdl = dloss.to_vector();
      for (ResidualKind kind : {ResidualKind::norm, ResidualKind::squared}) {
        Tensor loss = Tensor::empty({shape[0]}, loss_dtype), da = Tensor::empty(shape, dtype);
        kernels::residual_norm_forward(kind, y.view(), a.view(), loss.view());
        kernels::residual_norm_backward(kind, y.view(), a.view(), loss.view(), dloss.view(), da.view());
        const auto found = loss.to_vector(), gradient = da.to_vector();
        for (size_t i = 0; i < found.size(); ++i) {
          double sum = 0;
          for (size_t j = i * size; j < (i + 1) * size; ++j) sum += (vy[j] - va[j]) * (vy[j] - va[j]);
          const double expected = kind == ResidualKind::norm ? std::sqrt(sum) : sum;
          ASSERT_NEAR(found[i], expected, (dtype == DType::f64 ? 1e-13 : 1e-6) * expected);
          for (size_t j = i * size; j < (i + 1) * size; ++j) {
            const double r = vy[j] - va[j];
            const double expected_da = kind == ResidualKind::norm ? -vdl[i] * r / expected : -2 * vdl[i] * r;
            ASSERT_NEAR(gradient[j], expected_da, dtype == DType::bf16 ? 2e-2 : 1e-6);
          }
        }
      }
    }
}

TEST_P(ResidualNormTest, AnExactFitHasGradientZero) {
  const Tensor y = random_tensor({2, 9}), ones = Tensor::full({2}, 1);
  Tensor loss = Tensor::empty({2}), da = Tensor::full({2, 9}, 7);
  kernels::residual_norm_forward(ResidualKind::norm, y.view(), y.view(), loss.view());
  kernels::residual_norm_backward(ResidualKind::norm, y.view(), y.view(), loss.view(), ones.view(),
                                  da.view());
  EXPECT_EQ(loss.to_vector(), std::vector<double>(2, 0.0));
  EXPECT_EQ(da.to_vector(), std::vector<double>(18, 0.0));
}

TEST_P(ResidualNormTest, AnImageDependsNeitherOnThreadsNorOnTheBatch) {
  const Tensor y = random_tensor({5, 45, 47, 3}, DType::f32, 1),
               a = random_tensor({5, 45, 47, 3}, DType::f32, 2);
  const auto run = [](const Tensor& y, const Tensor& a) {
    Tensor loss = Tensor::empty({a.dim(0)});
    kernels::residual_norm_forward(ResidualKind::norm, y.view(), a.view(), loss.view());
    return loss.to_vector();
  };
  const int before = kernels::thread_count();
  kernels::set_thread_count(1);
  const auto one = run(y, a);
  kernels::set_thread_count(2);
  EXPECT_EQ(run(y, a), one);
  kernels::set_thread_count(before);
  EXPECT_EQ(run(y.slice(0, 3, 4).clone(), a.slice(0, 3, 4).clone())[0], one[3]);
}

TEST_P(ResidualNormTest, RefusesWhatDoesNotFit) {
  const Tensor y = random_tensor({2, 9}), a = random_tensor({2, 8});
  Tensor loss = Tensor::empty({2}), wrong = Tensor::empty({3});
  EXPECT_THROW(kernels::residual_norm_forward(ResidualKind::norm, y.view(), a.view(), loss.view()), Error);
  EXPECT_THROW(kernels::residual_norm_forward(ResidualKind::norm, y.view(), y.view(), wrong.view()), Error);
}

INSTANTIATE_TEST_SUITE_P(Isa, ResidualNormTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
