#include "autograd/ops/pad2d.h"

#include <gtest/gtest.h>

#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

TEST(Pad2dGradient, MatchesFiniteDifferences) {
  for (auto mode : {kernels::PadMode::zero, kernels::PadMode::reflect, kernels::PadMode::replicate})
    expect_gradients_match([mode](const std::vector<Var>& in) { return pad2d(in[0], 1, 2, 0, 3, mode); },
                           {random_tensor({2, 4, 5, 3}, DType::f64, 1)});
}

TEST(Pad2d, RefusesOtherRanks) { EXPECT_THROW(pad2d(Var(random_tensor({2, 3, 4})), 1, 1, 1, 1), Error); }

}  // namespace
}  // namespace tw
