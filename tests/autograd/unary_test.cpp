#include "autograd/ops/unary.h"

#include <gtest/gtest.h>

#include "autograd/ops/binary.h"
#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

TEST(UnaryGradient, MatchesFiniteDifferences) {
  Tensor x = random_tensor({2, 3, 5}, DType::f64, 1);  // no element near a kink
  for (double& v : x.span<double>()) v += v < 0 ? -0.1 : 0.1;
  Tensor positive = x.clone();
  for (double& v : positive.span<double>()) v = 0.2 + std::abs(v);
  for (Var (*f)(const Var&) : {neg, exp, square, abs})
    expect_gradients_match([f](const std::vector<Var>& in) { return f(in[0]); }, {x});
  for (Var (*f)(const Var&) : {log, sqrt})
    expect_gradients_match([f](const std::vector<Var>& in) { return f(in[0]); }, {positive});
  expect_gradients_match([](const std::vector<Var>& in) { return clamp(in[0], -0.45, 0.55); }, {x});
  expect_gradients_match([](const std::vector<Var>& in) { return 3.0 - 2 * ((in[0] + 1) / 4) + (1 + in[0]); },
                         {x});
}

TEST(UnaryGradient, AffineKeepsNothing) {
  Var x = Var::leaf(random_tensor({4}));
  const auto held = x.value().storage().use_count();
  Var y = scale(x, 2), z = exp(x);
  EXPECT_EQ(x.value().storage().use_count(), held) << "scale saves nothing, exp its result";
}

}  // namespace
}  // namespace tw
