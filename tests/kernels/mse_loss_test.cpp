#include "kernels/op/mse_loss.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/kernels/every_isa.h"
#include "tests/kernels/thread_counts.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

Tensor run(const Tensor& a, const Tensor& b) {
  Tensor y = Tensor::empty({a.dim(0)}, a.dtype() == DType::f64 ? DType::f64 : DType::f32);
  std::vector<double> workspace(kernels::mse_workspace_bytes(a.view()) / 8);
  kernels::mse_forward(a.view(), b.view(), y.view(), workspace.data());
  return y;
}

class MseLossTest : public EveryIsa {};

TEST_P(MseLossTest, BothDirectionsMatchTheFormula) {
  for (int64_t each : {1, 5, 16, 67, 4096, 10007})
    for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      const Tensor a = random_tensor({3, each}, dtype, 1), b = random_tensor({3, each}, dtype, 2);
      const Tensor dy = random_tensor({3}, dtype == DType::f64 ? DType::f64 : DType::f32, 3);
      const auto va = a.to_vector(), vb = b.to_vector(), vdy = dy.to_vector();
      std::vector<double> expected(3), gradient;
      for (size_t i = 0; i < va.size(); ++i) {
        const double d = va[i] - vb[i];
        expected[i / static_cast<size_t>(each)] += d * d / static_cast<double>(each);
        gradient.push_back(vdy[i / static_cast<size_t>(each)] * 2 * d / static_cast<double>(each));
      }
      EXPECT_LE(max_error(run(a, b), Tensor::from(expected)), dtype == DType::f64 ? 1e-13 : 1e-6);
      Tensor da = Tensor::empty(a.shape(), dtype);
      kernels::mse_backward(a.view(), b.view(), dy.view(), da.view());
      EXPECT_LE(max_error(da, Tensor::from(gradient, a.shape())), dtype == DType::f64   ? 1e-13
                                                                  : dtype == DType::f32 ? 5e-7
                                                                                        : 4e-3);
    }
}

TEST_P(MseLossTest, DoesNotDependOnTheThreadCountOrTheBatch) {
  const Tensor a = random_tensor({4, 9001}, DType::f32, 1), b = random_tensor({4, 9001}, DType::f32, 2);
  expect_same_with_two_threads([&] { return run(a, b); });
  EXPECT_EQ(run(a.slice(0, 2, 3), b.slice(0, 2, 3)).item(), run(a, b).to_vector()[2]);
}

TEST(MseLossKernel, RefusesWrongShapes) {
  EXPECT_THROW(run(random_tensor({2, 3}), random_tensor({2, 4})), Error);
  EXPECT_THROW(run(random_tensor({2, 3}), random_tensor({2, 3}, DType::bf16)), Error);
}

INSTANTIATE_TEST_SUITE_P(Isa, MseLossTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
