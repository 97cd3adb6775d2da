#include "autograd/ops/binary.h"

#include <gtest/gtest.h>

#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

Tensor positive(const Shape& shape, unsigned seed) {
  Tensor t = random_tensor(shape, DType::f64, seed);
  for (double& v : t.span<double>()) v = 1.5 + 0.8 * v;
  return t;
}

TEST(BinaryGradient, MatchesFiniteDifferencesForAllBroadcasts) {
  for (const auto& [a, b] : std::vector<std::pair<Shape, Shape>>{{{2, 3, 4, 5}, {2, 3, 4, 5}},
                                                                 {{2, 3, 4, 5}, {5}},
                                                                 {{2, 3, 4, 5}, {2, 1, 1, 5}},
                                                                 {{3, 1, 5}, {2, 1, 4, 1}},
                                                                 {{}, {2, 3}},
                                                                 {{}, {}}}) {
    SCOPED_TRACE(detail::join(a, " ", b));
    const std::vector<Tensor> inputs{random_tensor(a, DType::f64, 1), positive(b, 2)};
    expect_gradients_match([](const std::vector<Var>& in) { return in[0] + in[1]; }, inputs);
    expect_gradients_match([](const std::vector<Var>& in) { return in[0] - in[1]; }, inputs);
    expect_gradients_match([](const std::vector<Var>& in) { return in[0] * in[1]; }, inputs);
    expect_gradients_match([](const std::vector<Var>& in) { return in[0] / in[1]; }, inputs);
    expect_gradients_match([](const std::vector<Var>& in) { return in[1] - in[0]; }, inputs);
  }
}

TEST(BinaryGradient, OneOperandTwice) {
  expect_gradients_match(
      [](const std::vector<Var>& in) { return in[0] * in[0] / (in[0] + in[0]) - in[0] * in[0]; },
      {positive({3, 4}, 1)});
}

TEST(BinaryGradient, KeepsOnlyTheOperandThatIsNeeded) {
  Var x = Var::leaf(random_tensor({4})), constant(random_tensor({4}, DType::f32, 1));
  const Tensor xs = x.value(), cs = constant.value();
  const auto held_x = xs.storage().use_count(), held_c = cs.storage().use_count();
  Var sum = x + constant, product = x * constant;
  EXPECT_EQ(xs.storage().use_count(), held_x) << "nobody wants the constant's gradient";
  EXPECT_EQ(cs.storage().use_count(), held_c + 1);
  backward(product, Tensor::full({4}, 1));
  EXPECT_EQ(cs.storage().use_count(), held_c);
  EXPECT_EQ(x.grad().to_vector(), cs.to_vector());
  EXPECT_FALSE((constant * constant).requires_grad());
}

}  // namespace
}  // namespace tw
