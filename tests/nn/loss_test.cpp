#include "nn/loss.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

TEST(Loss, ValuesByHand) {
  const Tensor a = Tensor::from(std::vector<float>{1, -2, 3}), b = Tensor::from(std::vector<float>{1, 2, 0});
  EXPECT_NEAR(l1_loss(a, b).value().item(), 7.0 / 3, 1e-6);
  EXPECT_NEAR(mse_loss(a, b).value().item(), 25.0 / 3, 1e-6);
  EXPECT_NEAR(pseudo_huber_loss(a, b, 1).value().item(), (std::sqrt(17) - 1 + std::sqrt(10) - 1) / 3, 1e-6);
  EXPECT_THROW(pseudo_huber_loss(a, b, 0), Error);
}

TEST(Loss, GradientsMatchFiniteDifferences) {
  const std::vector<Tensor> inputs{random_tensor({2, 5}, DType::f64, 1),
                                   random_tensor({2, 5}, DType::f64, 2)};
  expect_gradients_match([](const std::vector<Var>& in) { return l1_loss(in[0], in[1]); }, inputs);
  expect_gradients_match([](const std::vector<Var>& in) { return pseudo_huber_loss(in[0], in[1], 0.3); },
                         inputs);
}

}  // namespace
}  // namespace tw
