#include "autograd/ops/softmax.h"

#include <gtest/gtest.h>

#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

TEST(SoftmaxGradient, MatchesFiniteDifferences) {
  for (const Shape& shape : {Shape{3, 7}, Shape{2, 2, 33}, Shape{5}})
    expect_gradients_match([](const std::vector<Var>& in) { return softmax(in[0]); },
                           {random_tensor(shape, DType::f64, 1, 3)});
}

TEST(SoftmaxGradient, NothingIsRecordedForAConstant) {
  EXPECT_FALSE(softmax(Var(random_tensor({4}))).requires_grad());
}

}  // namespace
}  // namespace tw
