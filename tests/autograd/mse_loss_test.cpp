#include "autograd/ops/mse_loss.h"

#include <gtest/gtest.h>

#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

TEST(MseLossGradient, MatchesFiniteDifferences) {
  const std::vector<Tensor> inputs{random_tensor({3, 4, 5}, DType::f64, 1),
                                   random_tensor({3, 4, 5}, DType::f64, 2)};
  expect_gradients_match([](const std::vector<Var>& in) { return mse_loss(in[0], in[1]); }, inputs);
  expect_gradients_match([](const std::vector<Var>& in) { return mse_per_sample(in[0], in[1]); }, inputs);
}

TEST(MseLoss, IsF32ForBf16) {
  Var a = Var::leaf(random_tensor({3, 50}, DType::bf16, 1));
  const Var b(random_tensor({3, 50}, DType::bf16, 2));
  const Var loss = mse_loss(a, b);
  EXPECT_EQ(loss.dtype(), DType::f32);
  backward(loss);
  EXPECT_EQ(a.grad().dtype(), DType::bf16);
}

}  // namespace
}  // namespace tw
