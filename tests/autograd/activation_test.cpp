#include "autograd/ops/activation.h"

#include <gtest/gtest.h>

#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

TEST(ActivationGradient, SiluMatchesFiniteDifferences) {
  expect_gradients_match([](const std::vector<Var>& in) { return silu(in[0]); },
                         {random_tensor({2, 3, 5}, DType::f64, 1, 3)});
}

TEST(ActivationGradient, NothingIsRecordedForAConstant) {
  EXPECT_FALSE(silu(Var(random_tensor({4}))).requires_grad());
}

}  // namespace
}  // namespace tw
