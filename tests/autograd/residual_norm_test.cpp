#include "autograd/ops/residual_norm.h"

#include <gtest/gtest.h>

#include "autograd/ops/binary.h"
#include "autograd/ops/sum.h"
#include "autograd/ops/unary.h"
#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

TEST(ResidualNormGradient, MatchesFiniteDifferences) {
  const Tensor y = random_tensor({3, 4, 2}, DType::f64, 7);
  for (kernels::ResidualKind kind : {kernels::ResidualKind::norm, kernels::ResidualKind::squared})
    expect_gradients_match([&](const std::vector<Var>& in) { return residual_norm(y, in[0], kind); },
                           {random_tensor({3, 4, 2}, DType::f64, 1)});
}

// The fallback: what the fused op computes in one pass each way.
TEST(ResidualNorm, EqualsItsCompositionOfBasicOps) {
  const Tensor y = random_tensor({3, 9, 7, 3}, DType::f64, 1), seed = random_tensor({3}, DType::f64, 3);
  const Var a = Var::leaf(random_tensor({3, 9, 7, 3}, DType::f64, 2));
  const Var composed = sqrt(sum(square(sub(y, a)), {1, 2, 3})), fused = residual_norm(y, a);
  EXPECT_LT(max_error(fused.value(), composed.value()), 1e-14);
  EXPECT_LT(max_error(grad({fused}, {a}, {seed})[0], grad({composed}, {a}, {seed})[0]), 1e-14);
}

TEST(ResidualNormGradient, NothingIsRecordedForAConstant) {
  EXPECT_FALSE(
      residual_norm(random_tensor({2, 4}), Var(random_tensor({2, 4}, DType::f32, 1))).requires_grad());
}

}  // namespace
}  // namespace tw
