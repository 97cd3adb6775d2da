#include "autograd/ops/activation.h"

#include <gtest/gtest.h>

#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

TEST(ActivationGradient, MatchesFiniteDifferences) {
  Tensor x = random_tensor({2, 3, 5}, DType::f64, 1, 3);  // no element near the kink of relu
  for (double& v : x.span<double>()) v += v < 0 ? -0.1 : 0.1;
  for (Var (*f)(const Var&) : {silu, relu, gelu, gelu_tanh, tanh, sigmoid, softplus})
    expect_gradients_match([f](const std::vector<Var>& in) { return f(in[0]); }, {x});
  expect_gradients_match([](const std::vector<Var>& in) { return leaky_relu(in[0], 0.2); }, {x});
}

TEST(ActivationGradient, NothingIsRecordedForAConstant) {
  EXPECT_FALSE(silu(Var(random_tensor({4}))).requires_grad());
}

}  // namespace
}  // namespace tw
