#include "autograd/ops/dropout.h"

#include <gtest/gtest.h>

#include "autograd/checkpoint.h"
#include "autograd/ops/unary.h"
#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

TEST(DropoutGradient, MatchesFiniteDifferences) {
  expect_gradients_match([](const std::vector<Var>& in) { return dropout(in[0], 0.4, 3, 1, 2); },
                         {random_tensor({2, 3, 5}, DType::f64, 1)});
}

TEST(DropoutGradient, IsTheSameUnderACheckpoint) {
  expect_gradients_match(
      [](const std::vector<Var>& in) {
        return checkpoint([](const std::vector<Var>& v) { return square(dropout(v[0], 0.4, 3)); }, in);
      },
      {random_tensor({2, 3, 5}, DType::f64, 1)});
}

TEST(Dropout, SavesNothing) {
  Var x = Var::leaf(random_tensor({2, 3}));
  const auto held = x.value().storage().use_count();
  const Var y = dropout(x, 0.5, 1);
  EXPECT_EQ(x.value().storage().use_count(), held);
  EXPECT_EQ(dropout(x, 0, 1).value().storage(), x.value().storage());
}

}  // namespace
}  // namespace tw
