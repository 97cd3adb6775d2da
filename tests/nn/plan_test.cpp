#include "nn/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tensor/pool.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

class PlanTest : public testing::Test {
 protected:
  PlanTest() {
    unsigned seed = 100;
    for (Parameter& p : net_.parameters())
      p.value.mutable_value() = random_tensor(p.value.shape(), DType::f32, seed++, 0.2);
    net_.freeze();
  }
  static UNetConfig config() {
    UNetConfig config = unet_preset("tiny");
    config.resolution = 8;
    config.attention_resolutions = {4};
    config.classes = 3;
    return config;
  }
  std::vector<double> plain(const Tensor& x, float t, const Tensor& labels = {}) const {
    const NoGrad no_grad;
    return net_.forward(x, Tensor::full({x.dim(0)}, t), labels).value().to_vector();
  }

  UNet net_{config()};
  const std::vector<float> timesteps_{999, 500, 250.5, 17, 0};
};

TEST_F(PlanTest, TheTimeTableGivesTheSameBits) {
  const Tensor x = random_tensor({4, 8, 8, 3}), labels = Tensor::from(std::vector<int32_t>{2, 0, 2, 3});
  const TimeTable conditional = net_.time_table(timesteps_, labels),
                  unconditional = net_.time_table(timesteps_);
  EXPECT_EQ(conditional.labels, 3);
  for (int64_t row = 0; row < conditional.rows; ++row) {
    const float t = timesteps_[static_cast<size_t>(row)];
    EXPECT_EQ(net_.forward(x, conditional, row).value().to_vector(), plain(x, t, labels)) << "row " << row;
    EXPECT_EQ(net_.forward(x, unconditional, row).value().to_vector(), plain(x, t)) << "row " << row;
  }
  EXPECT_THROW(net_.forward(x, conditional, 5), Error);
  EXPECT_THROW(net_.forward(x.slice(0, 0, 3), conditional, 0), Error);
}

TEST_F(PlanTest, ReplayedStepsGiveTheSameBitsAndAllocateNothingNew) {
  const Tensor labels = Tensor::from(std::vector<int32_t>{1, 3});
  Plan plan(net_, timesteps_, labels);
  for (int64_t row = 0; row < 5; ++row) {
    const Tensor x = random_tensor({2, 8, 8, 3}, DType::f32, static_cast<unsigned>(row));
    const size_t before = default_pool()->statistics().in_use;
    const Tensor y = plan.evaluate(x, row);
    if (row >= 3) {
      EXPECT_LE(default_pool()->statistics().in_use - before, y.nbytes() + 64) << "more than the result";
    }
    EXPECT_EQ(y.to_vector(), plain(x, timesteps_[static_cast<size_t>(row)], labels)) << "row " << row;
  }
  ASSERT_TRUE(plan.arena().planned());
  EXPECT_LT(plan.arena().arena_bytes(), plan.arena().sum_bytes() / 3);
  int outlive = 0;
  for (const PlanRow& row : plan.arena().plan()) outlive += row.outlives;
  EXPECT_EQ(outlive, 1) << "only the result is allocated outside of the arena";
  EXPECT_THROW(plan.evaluate(random_tensor({1, 8, 8, 3}), 0), Error);
}

TEST_F(PlanTest, ARecordedEvaluationHasTheGradientOfThePlainOne) {
  const Plan plan(net_, timesteps_);
  const Tensor dy = random_tensor({2, 8, 8, 3}, DType::f32, 7);
  const Var a = Var::leaf(random_tensor({2, 8, 8, 3})), b = Var::leaf(a.value());
  backward(plan.evaluate_recorded(a, 1), dy);
  backward(net_.forward(b, Tensor::full({2}, 500)), dy);
  EXPECT_EQ(a.grad().to_vector(), b.grad().to_vector());
}

TEST_F(PlanTest, PackedWeightsAloneGiveTheSameBits) {
  const Tensor x = random_tensor({2, 8, 8, 3}), dy = random_tensor({2, 8, 8, 3}, DType::f32, 7);
  const auto gradient = [&] {
    const Var leaf = Var::leaf(x);
    backward(net_.forward(leaf, Tensor::full({2}, 500)), dy);
    return leaf.grad().to_vector();
  };
  const std::vector<double> output = plain(x, 500), expected = gradient();
  net_.keep_only_packed(WeightUse::guided_sampling);
  net_.to(DType::bf16);  // new weights, so that they are packed anew
  net_.to(DType::f32);
  const std::vector<double> rounded = plain(x, 500);
  EXPECT_NE(output, rounded);
  const auto held = [&] {
    int64_t bytes = 0;
    for (const Parameter& p : net_.parameters())
      if (!p.value.value().storage()->discarded()) bytes += static_cast<int64_t>(p.value.value().nbytes());
    return bytes;
  };
  const int64_t before = held();
  const std::vector<double> rounded_gradient = gradient();
  EXPECT_NE(expected, rounded_gradient);
  EXPECT_LT(held(), before * 4 / 5) << "what is packed for Winograd in each call stays";
  EXPECT_EQ(plain(x, 500), rounded);
  EXPECT_EQ(gradient(), rounded_gradient);
  for (const Parameter& p : net_.parameters())
    if (p.value.value().storage()->discarded()) {
      EXPECT_THROW(p.value.value().to_vector(), Error);
      EXPECT_THROW(p.value.value().data<float>(), Error);
    }
}

TEST_F(PlanTest, WeightsPackedForSamplingHaveNoGradientsLeft) {
  net_.keep_only_packed(WeightUse::sampling);
  const Tensor x = random_tensor({1, 8, 8, 3});
  const std::vector<double> once = plain(x, 3);
  EXPECT_EQ(plain(x, 3), once);
  EXPECT_THROW(net_.forward(Var::leaf(x), Tensor::full({1}, 3)), Error);
}

}  // namespace
}  // namespace tw
