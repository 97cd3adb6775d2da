#include "autograd/ops/sum.h"

#include <gtest/gtest.h>

#include "autograd/ops/unary.h"
#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

TEST(SumGradient, MatchesFiniteDifferencesOverEverySetOfDimensions) {
  const Tensor x = random_tensor({2, 3, 2, 3}, DType::f64, 1);
  for (const std::vector<int>& dims :
       std::vector<std::vector<int>>{{}, {0}, {1, 2}, {-1}, {0, 3}, {0, 1, 2, 3}})
    for (bool keep : {false, true}) {
      expect_gradients_match([&](const std::vector<Var>& in) { return sum(square(in[0]), dims, keep); }, {x});
      expect_gradients_match([&](const std::vector<Var>& in) { return square(mean(in[0], dims, keep)); },
                             {x});
    }
}

TEST(Sum, ShapesOfTheResult) {
  const Var x(random_tensor({2, 3, 4}));
  EXPECT_EQ(sum(x).shape(), Shape{});
  EXPECT_EQ(sum(x, {}, true).shape(), (Shape{1, 1, 1}));
  EXPECT_EQ(sum(x, {1}).shape(), (Shape{2, 4}));
  EXPECT_EQ(mean(x, {-1, 0}, true).shape(), (Shape{1, 3, 1}));
  EXPECT_NEAR(mean(Var(Tensor::full({3, 5}, 2))).value().item(), 2, 1e-7);
}

TEST(Sum, RefusesWrongDimensions) {
  const Var x(random_tensor({2, 3}));
  EXPECT_THROW(sum(x, {2}), Error);
  EXPECT_THROW(sum(x, {0, -2}), Error);
  EXPECT_THROW(mean(Var(Tensor::empty({0, 3}))), Error);
}

}  // namespace
}  // namespace tw
