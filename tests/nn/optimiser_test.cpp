#include "nn/optimiser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "nn/layers/linear.h"
#include "nn/learning_rate.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

void set_gradients(const Module& module, double value) {
  for (Parameter& p : module.parameters()) p.value.mutable_grad() = Tensor::full(p.value.shape(), value);
}

TEST(Optimiser, FirstStepMovesByTheLearningRateAgainstTheGradient) {
  Linear linear(2, 3);
  linear.initialise(1);
  const auto before = linear.weight.value().to_vector();
  set_gradients(linear, 0.5);
  Optimiser optimiser(linear, {});
  const auto report = optimiser.step(0.01);
  EXPECT_NEAR(report.gradient_norm, 0.5 * 3, 1e-6);  // nine elements
  const auto after = linear.weight.value().to_vector();
  for (size_t i = 0; i < before.size(); ++i) EXPECT_NEAR(after[i], before[i] - 0.01, 1e-6);
  EXPECT_FALSE(linear.weight.grad().defined()) << "a step clears the gradients";
}

TEST(Optimiser, ClippingActsOnTheNormOfAllGradientsTogether) {
  // Scaling all gradients by one factor does not change Adam's first step, but does change its second.
  Linear clipped(2, 3), scaled(2, 3);
  for (Linear* linear : {&clipped, &scaled}) linear->initialise(1);
  Optimiser a(clipped, {.clip_norm = 1}), b(scaled, {});
  for (const double gradient : {0.1, 10.0, 0.2}) {
    set_gradients(clipped, gradient);
    set_gradients(scaled, gradient * (3 * gradient > 1 ? 1 / (3 * gradient) : 1));
    a.step(0.01);
    b.step(0.01);
  }
  EXPECT_LT(max_error(clipped.weight.value(), scaled.weight.value()), 1e-5);
}

TEST(Optimiser, AStepThatIsNotFiniteChangesNothing) {
  Linear linear(2, 3);
  linear.initialise(1);
  Ema ema(linear, {});
  Optimiser optimiser(linear, {});
  const auto before = linear.weight.value().to_vector();
  set_gradients(linear, 1);
  Tensor(linear.bias.mutable_grad()).slice(0, 1, 2).fill(NAN);
  EXPECT_FALSE(optimiser.step(0.01, 1, &ema).finite);
  EXPECT_EQ(linear.weight.value().to_vector(), before);
  EXPECT_EQ(optimiser.steps(), 0);
  EXPECT_EQ(ema.updates(), 0);
  EXPECT_FALSE(linear.bias.grad().defined());
  set_gradients(linear, 1);
  EXPECT_TRUE(optimiser.step(0.01, 1, &ema).finite);
}

TEST(Optimiser, GoesOnFromItsSavedStateBitForBit) {
  Linear one(2, 3), other(2, 3);
  one.initialise(1);
  Ema ema(one, {});
  Optimiser optimiser(one, {.weight_decay = 0.01});
  for (int i = 0; i < 3; ++i) {
    set_gradients(one, 0.1 * i + 0.3);
    optimiser.step(0.01, 1, &ema);
  }
  for (size_t i = 0; i < 2; ++i)
    other.parameters()[i].value.mutable_value() = one.parameters()[i].value.value().clone();
  Ema ema_copy(other, {});
  Optimiser copy(other, {.weight_decay = 0.01});
  copy.load_state(optimiser.state(), optimiser.steps());
  ema_copy.load_state(ema.state(), ema.updates());
  set_gradients(one, 0.7);
  set_gradients(other, 0.7);
  optimiser.step(0.02, 1, &ema);
  copy.step(0.02, 1, &ema_copy);
  EXPECT_EQ(one.weight.value().to_vector(), other.weight.value().to_vector());
  EXPECT_EQ(ema.average(0).to_vector(), ema_copy.average(0).to_vector());
  auto state = optimiser.state();
  state.erase("bias.exp_avg");
  EXPECT_THROW(copy.load_state(state, 4), Error);
}

TEST(LossScale, IsHalvedByAnOverflowAndDoubledAfterGoodSteps) {
  const kernels::LossScaleRule rule{.least = 16384, .most = 131072, .interval = 3};
  kernels::LossScale scale;
  const auto after = [&](std::initializer_list<bool> finite) {
    for (const bool one : finite) scale.after_step(rule, one);
    return scale.scale;
  };
  EXPECT_EQ(scale.scale, 65536);
  EXPECT_EQ(after({true, true, false}), 32768);
  EXPECT_EQ(after({true, true}), 32768);
  EXPECT_EQ(scale.good_steps, 2);
  EXPECT_EQ(after({true}), 65536);
  EXPECT_EQ(scale.good_steps, 0);
  EXPECT_EQ(after({false, false, false}), 16384) << "the least";
  EXPECT_EQ(after({true, true, true, true, true, true, true, true, true, true, true, true}), 131072)
      << "the most";
}

TEST(Ema, DecayWarmsUpInEitherWay) {
  const EmaSettings none{.decay = 0.9, .warmup = EmaSettings::Warmup::none}, ratio{.decay = 0.9999},
      power{.decay = 0.9999, .warmup = EmaSettings::Warmup::power, .power = 0.75};
  EXPECT_EQ(none.at(0), 0.9);
  EXPECT_DOUBLE_EQ(ratio.at(0), 0.1);
  EXPECT_DOUBLE_EQ(ratio.at(90), 91.0 / 100);
  EXPECT_DOUBLE_EQ(ratio.at(1000000), 0.9999);
  EXPECT_DOUBLE_EQ(power.at(15), 1 - std::pow(16.0, -0.75));
  EXPECT_DOUBLE_EQ(power.at(100000000), 0.9999);
}

TEST(Ema, IsTheWeightedMeanOfTheParametersAfterEachStep) {
  Linear linear(1, 1);
  linear.initialise(1);
  Optimiser optimiser(linear, {});
  Ema ema(linear, {.decay = 0.9, .warmup = EmaSettings::Warmup::none});
  double expected = linear.weight.value().item();
  for (int i = 0; i < 4; ++i) {
    set_gradients(linear, 1);
    optimiser.step(0.1, 1, &ema);
    expected = 0.9 * expected + 0.1 * linear.weight.value().item();
  }
  EXPECT_NEAR(ema.average(0).item(), expected, 1e-6);
  const double raw = linear.weight.value().item();
  {
    const EmaScope scope(linear, ema);
    EXPECT_EQ(linear.weight.value().item(), ema.average(0).item());
  }
  EXPECT_EQ(linear.weight.value().item(), raw);
}

TEST(LearningRate, WarmsUpThenStaysOrFallsToZero) {
  const LearningRate constant{.base = 1, .warmup = 4};
  EXPECT_DOUBLE_EQ(constant.at(0), 0.25);
  EXPECT_DOUBLE_EQ(constant.at(3), 1);
  EXPECT_DOUBLE_EQ(constant.at(1000), 1);
  const LearningRate cosine{.base = 2, .warmup = 0, .decay = LearningRate::Decay::cosine, .total = 100};
  EXPECT_DOUBLE_EQ(cosine.at(0), 2);
  EXPECT_NEAR(cosine.at(50), 1, 1e-12);
  EXPECT_NEAR(cosine.at(100), 0, 1e-12);
  EXPECT_GE(cosine.at(200), 0);
}

}  // namespace
}  // namespace tw
