#include "autograd/ops/residual_norm.h"

#include <gtest/gtest.h>

#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

TEST(ResidualNormGradient, MatchesFiniteDifferences) {
  const Tensor y = random_tensor({3, 4, 2}, DType::f64, 7);
  for (kernels::ResidualKind kind : {kernels::ResidualKind::norm, kernels::ResidualKind::squared})
    expect_gradients_match([&](const std::vector<Var>& in) { return residual_norm(y, in[0], kind); },
                           {random_tensor({3, 4, 2}, DType::f64, 1)});
}

TEST(ResidualNormGradient, NothingIsRecordedForAConstant) {
  EXPECT_FALSE(
      residual_norm(random_tensor({2, 4}), Var(random_tensor({2, 4}, DType::f32, 1))).requires_grad());
}

}  // namespace
}  // namespace tw
