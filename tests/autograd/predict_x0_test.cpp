#include "autograd/ops/predict_x0.h"

#include <gtest/gtest.h>

#include "autograd/ops/binary.h"
#include "autograd/ops/unary.h"
#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

const std::vector<kernels::SamplerStep> steps{
    {.x0_from_x = 1.5, .x0_from_output = -0.8, .clip = 1, .x0_scale = 0.7},
    {.x0_from_x = 0.4, .x0_from_output = 0.9}};

TEST(PredictX0Gradient, MatchesFiniteDifferences) {
  expect_gradients_match(
      [](const std::vector<Var>& in) { return predict_x0(in[0], in[1], steps); },
      {random_tensor({2, 3, 3, 2}, DType::f64, 1, 1.5), random_tensor({2, 3, 3, 2}, DType::f64, 2, 1.5)});
}

// The fallback: what the fused op computes in one pass each way.
TEST(PredictX0, EqualsItsCompositionOfBasicOps) {
  const kernels::SamplerStep& s = steps[0];
  const Var x = Var::leaf(random_tensor({2, 7, 5, 3}, DType::f64, 1, 1.5));
  const Var o = Var::leaf(random_tensor({2, 7, 5, 3}, DType::f64, 2, 1.5));
  const Var composed =
      scale(clamp(add(scale(x, s.x0_from_x), scale(o, s.x0_from_output)), -s.clip, s.clip), s.x0_scale);
  const Var fused = predict_x0(x, o, {s});
  EXPECT_LT(max_error(fused.value(), composed.value()), 1e-14);
  const Tensor seed = random_tensor({2, 7, 5, 3}, DType::f64, 3);
  const auto expected = grad({composed}, {x, o}, {seed}), found = grad({fused}, {x, o}, {seed});
  for (size_t i = 0; i < 2; ++i) EXPECT_LT(max_error(found[i], expected[i]), 1e-14);
}

TEST(PredictX0Gradient, OnlyTheWantedOneIsComputed) {
  const Tensor x = random_tensor({2, 5}, DType::f64, 1), o = random_tensor({2, 5}, DType::f64, 2);
  const Var both_x = Var::leaf(x), both_o = Var::leaf(o), one_x = Var::leaf(x);
  const Tensor seed = random_tensor({2, 5}, DType::f64, 3);
  const auto both = grad({predict_x0(both_x, both_o, steps)}, {both_x, both_o}, {seed});
  const auto one = grad({predict_x0(one_x, o, steps)}, {one_x}, {seed});
  EXPECT_EQ(one[0].to_vector(), both[0].to_vector());
  EXPECT_FALSE(predict_x0(x, o, steps).requires_grad());
}

}  // namespace
}  // namespace tw
