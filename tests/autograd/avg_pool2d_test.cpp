#include "autograd/ops/avg_pool2d.h"

#include <gtest/gtest.h>

#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

TEST(AvgPool2dGradient, MatchesFiniteDifferences) {
  for (int64_t k : {1, 2, 3})
    expect_gradients_match([k](const std::vector<Var>& in) { return avg_pool2d(in[0], k); },
                           {random_tensor({2, 5, 7, 3}, DType::f64, 1)});
}

TEST(UpsampleNearest2xGradient, MatchesFiniteDifferences) {
  expect_gradients_match([](const std::vector<Var>& in) { return upsample_nearest2x(in[0]); },
                         {random_tensor({2, 3, 4, 3}, DType::f64, 1)});
}

TEST(AvgPool2d, RefusesOtherRanks) {
  EXPECT_THROW(avg_pool2d(Var(random_tensor({2, 3, 4})), 2), Error);
  EXPECT_THROW(avg_pool2d(Var(random_tensor({2, 3, 4, 1})), 0), Error);
  EXPECT_THROW(upsample_nearest2x(Var(random_tensor({2, 3, 4}))), Error);
}

}  // namespace
}  // namespace tw
