#include "autograd/saved_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "autograd/ops/activation.h"
#include "autograd/ops/conv2d.h"
#include "autograd/ops/group_norm_silu.h"
#include "tensor/allocation_label.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

using testing::HasSubstr;

TEST(SavedLog, ListsWhatEachOpKeepsAndCountsSharedMemoryOnce) {
  const Var x = Var::leaf(random_tensor({2, 4, 4, 8}));
  const Tensor w = random_tensor({3, 3, 8, 8});
  const Var gamma(random_tensor({8})), beta(random_tensor({8}, DType::f32, 1));
  SavedLog log;
  {
    const AllocationName scope("block");
    const Var h = group_norm(x, gamma, beta, {.groups = 2, .silu = true});
    const Var y = conv2d(h, Var(w), {}, kernels::Conv2dParams::same(3)), z = silu(x);
  }
  ASSERT_EQ(log.rows().size(), 7u);  // mean, rstd, x, gamma, beta; the frozen weight; x again
  EXPECT_STREQ(log.rows()[0].op, "group_norm");
  EXPECT_EQ(log.rows()[0].name, "block");
  EXPECT_EQ(log.rows()[5].shape, w.shape());
  EXPECT_STREQ(log.rows()[6].op, "activation");
  const size_t moments = 2 * 2 * 2 * sizeof(float);
  EXPECT_EQ(log.bytes({w, gamma.value(), beta.value()}), x.value().nbytes() + moments)
      << "with frozen weights: the norm's input and two moments a group";
  EXPECT_THAT(log.table({w, gamma.value(), beta.value()}), HasSubstr("a parameter"));
  EXPECT_THAT(log.table(), HasSubstr("(shared)"));
}

TEST(SavedLog, SeesOnlyWhatIsRecordedWhileItIsThere) {
  const Var x = Var::leaf(random_tensor({3}));
  const Var before = silu(x);
  SavedLog outer;
  {
    SavedLog inner;
    const Var within = silu(x);
    EXPECT_EQ(inner.rows().size(), 1u);
  }
  EXPECT_TRUE(outer.rows().empty());
  const NoGrad no_grad;
  const Var nothing = silu(x);
  EXPECT_TRUE(outer.rows().empty());
}

}  // namespace
}  // namespace tw
