// A training loop whose step is repeated as a graph on a CUDA device against the same steps one by one, bit
// for bit; and its steps that are not finite, on the CPU too.
#include "diffusion/training_loop.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "nn/learning_rate.h"
#include "tensor/cuda_library.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

struct Case {
  const char* name;
  Prediction prediction = Prediction::epsilon;
  int64_t classes = 0, accumulate = 1;
  double dropout = 0;
  DType activations = DType::f32;
  bool recompute = false, averages = true, resumed = false;
  double first_scale = 65536;  // of the loss, in f16; doubled after two good steps
};

// What is left of a run, on the host.
struct Outcome {
  std::vector<Tensor> tensors;  // weights, averages, the optimiser's state
  std::vector<StepReport> reports;
  int64_t steps = 0, averaged = 0, nodes = 0;
  kernels::LossScale scale;
};

constexpr int64_t poisoned = 3;  // the step with an infinite pixel, where one is asked for

struct RunParams {
  Device device = Device::cuda;
  bool repeat = true, poison = false;
  int64_t steps = 6, resume_at = 0;  // resume_at: everything is made anew there, from what a file would hold
};

UNetConfig config_of(const Case& c) {
  UNetConfig config{
      .resolution = 4, .base = 8, .multipliers = {1}, .blocks = 1, .attention_resolutions = {}, .groups = 4};
  config.classes = c.classes;
  config.dropout = c.dropout;
  return config;
}

std::map<std::string, Tensor> on_host(const std::map<std::string, Tensor>& tensors) {
  std::map<std::string, Tensor> result;
  for (const auto& [name, tensor] : tensors) result[name] = to_device(tensor, Device::cpu).clone();
  return result;
}

Outcome run(const Case& c, const RunParams& params) {
  const Schedule schedule;
  const LearningRate rate{.base = 1e-2, .warmup = 5};
  std::map<std::string, Tensor> weights, averages, moments;
  Outcome outcome;
  const auto part = [&](int64_t begin, int64_t end) {
    UNet network(config_of(c), 3);
    network.set_activation_dtype(c.activations);
    network.set_recompute(c.recompute);
    network.to(params.device);
    network.train();
    Optimiser optimiser(network, {.weight_decay = 0.01,
                                  .clip_norm = 0.5,
                                  .scale_loss = c.activations == DType::f16,
                                  .loss_scale = {.interval = 2}});
    Ema ema(network, {.decay = 0.9});
    if (begin == 0) optimiser.load_state(optimiser.state(), 0, {.scale = c.first_scale});
    if (begin > 0) {
      for (Parameter& p : network.parameters()) p.value.mutable_value().copy_from(weights.at(p.name));
      optimiser.load_state(moments, outcome.steps, outcome.scale);
      ema.load_state(averages, outcome.averaged);
    }
    TrainingLoop loop(network, optimiser, c.averages ? &ema : nullptr, schedule,
                      {.objective = {.prediction = c.prediction, .weight = LossWeight::min_snr},
                       .batch = 3,
                       .accumulate = c.accumulate,
                       .seed = 11,
                       .repeat = params.repeat});
    for (int64_t step = begin; step < end; ++step)
      loop.step(step, rate.at(step), [&](int64_t micro) {
        const auto seed = static_cast<unsigned>(100 * step + micro);
        ImageBatch batch{.images = random_tensor({3, 4, 4, 3}, DType::f32, seed), .labels = {}};
        if (params.poison && step == poisoned)
          batch.images.data<float>()[17] = std::numeric_limits<float>::infinity();
        if (c.classes > 0)
          batch.labels = Tensor::from(std::vector<int32_t>{static_cast<int32_t>(step % c.classes), 0,
                                                           static_cast<int32_t>(c.classes)});
        return batch;
      });
    for (const StepReport& report : loop.reports()) outcome.reports.push_back(report);
    weights.clear();
    for (const Parameter& p : network.parameters())
      weights[p.name] = to_device(p.value.value(), Device::cpu).clone();
    averages = on_host(ema.state());
    moments = on_host(optimiser.state());
    outcome.steps = optimiser.steps();
    outcome.scale = optimiser.loss_scaling();
    outcome.averaged = ema.updates();
    outcome.nodes = loop.graph().nodes();
  };
  if (params.resume_at > 0) part(0, params.resume_at);
  part(params.resume_at, params.steps);
  for (const auto* group : {&weights, &averages, &moments})
    for (const auto& [name, tensor] : *group) outcome.tensors.push_back(tensor);
  return outcome;
}

void expect_same(const Outcome& found, const Outcome& expected) {
  EXPECT_EQ(found.steps, expected.steps);
  EXPECT_EQ(found.averaged, expected.averaged);
  EXPECT_EQ(found.scale.scale, expected.scale.scale);
  EXPECT_EQ(found.scale.good_steps, expected.scale.good_steps);
  ASSERT_EQ(found.reports.size(), expected.reports.size());
  for (size_t i = 0; i < found.reports.size(); ++i) {
    const StepReport &a = found.reports[i], &b = expected.reports[i];
    EXPECT_EQ(a.step, static_cast<int64_t>(i));
    EXPECT_EQ(a.finite, b.finite) << i;
    EXPECT_EQ(a.overflowed, b.overflowed) << i;
    if (a.finite || a.overflowed) {
      EXPECT_EQ(a.loss_scale, b.loss_scale) << i;
    }
    EXPECT_EQ(a.quartile_count, b.quartile_count) << i;
    if (!b.finite) continue;
    EXPECT_EQ(a.loss, b.loss) << i;
    EXPECT_EQ(a.gradient_norm, b.gradient_norm) << i;
    EXPECT_EQ(a.quartile_sum, b.quartile_sum) << i;
  }
  for (size_t i = 0; i < found.tensors.size(); ++i)
    EXPECT_EQ(found.tensors[i].to_vector(), expected.tensors[i].to_vector()) << "tensor " << i;
}

class CudaTrainingLoop : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  }
};

TEST_P(CudaTrainingLoop, RepeatedStepsGiveTheBitsOfTheStepsAndOneThatIsNotFiniteIsLeftOut) {
  const Outcome expected = run(GetParam(), {.repeat = false, .poison = true}),
                found = run(GetParam(), {.poison = true});
  EXPECT_GT(found.nodes, 0);
  EXPECT_EQ(expected.nodes, 0);
  EXPECT_EQ(expected.steps, 5);
  EXPECT_GT(expected.reports[5].gradient_norm, 0);
  for (const StepReport& report : found.reports) EXPECT_EQ(report.finite, report.step != poisoned);
  for (const Tensor& tensor : found.tensors)
    for (const double value : tensor.to_vector()) ASSERT_TRUE(std::isfinite(value));
  expect_same(found, expected);
  if (GetParam().resumed) expect_same(run(GetParam(), {.poison = true, .resume_at = 2}), expected);
}

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

INSTANTIATE_TEST_SUITE_P(
    All, CudaTrainingLoop,
    testing::Values(Case{.name = "plain", .resumed = true},
                    Case{.name = "classes", .prediction = Prediction::sample, .classes = 3, .dropout = 0.2},
                    Case{.name = "accumulated_recomputed",
                         .prediction = Prediction::v,
                         .accumulate = 2,
                         .dropout = 0.1,
                         .recompute = true,
                         .averages = false},
                    Case{.name = "bf16", .activations = DType::bf16},
                    Case{.name = "f16", .activations = DType::f16, .resumed = true}),
    [](const auto& info) { return std::string(info.param.name); });

// More steps than the device keeps reports of.
TEST(CudaTrainingLoopReports, AreAllThereAndInOrder) {
  if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  const Outcome found = run({.name = "plain"}, {.steps = 18});
  ASSERT_EQ(found.reports.size(), 18u);
  for (size_t i = 0; i < 18; ++i) {
    EXPECT_EQ(found.reports[i].step, static_cast<int64_t>(i));
    EXPECT_TRUE(found.reports[i].finite);
    EXPECT_NE(found.reports[i].loss, found.reports[(i + 1) % 18].loss);
  }
}

// With too large a scale the gradients overflow f16: such steps change nothing and halve it.
TEST(CudaTrainingLoopInF16, FindsItsLossScale) {
  if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  const Case high{.name = "high", .activations = DType::f16, .resumed = true, .first_scale = 1e9};
  const Outcome found = run(high, {.steps = 16});
  int64_t overflows = 0;
  double scale = high.first_scale;
  for (int64_t good = 0; const StepReport& report : found.reports) {
    EXPECT_TRUE(std::isfinite(report.loss));
    EXPECT_EQ(report.finite, !report.overflowed);
    overflows += report.overflowed;
    if (report.overflowed)
      scale /= 2, good = 0;
    else if (++good == 2)
      scale *= 2, good = 0;
    EXPECT_EQ(report.loss_scale, scale) << report.step;
  }
  EXPECT_TRUE(found.reports[1].overflowed)
      << "in the first step the last layer is zero, and so are the gradients";
  EXPECT_GT(overflows, 4);
  EXPECT_LT(overflows, 15);
  EXPECT_EQ(found.steps, 16 - overflows);
  EXPECT_EQ(found.averaged, found.steps);
  expect_same(run(high, {.repeat = false, .steps = 16}), found);
  expect_same(run(high, {.steps = 16, .resume_at = 9}), found);
  const Outcome before = run(high, {.steps = 1}), after = run(high, {.steps = 2});
  for (size_t i = 0; i < after.tensors.size(); ++i)
    EXPECT_EQ(after.tensors[i].to_vector(), before.tensors[i].to_vector()) << i;
}

// The gradients are divided by the scale: with it and in f32 the same steps are taken but for f16's rounding.
TEST(CudaTrainingLoopInF16, TakesTheStepsOfF32) {
  if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  const Outcome found = run({.name = "f16", .activations = DType::f16, .first_scale = 1024}, {.steps = 4}),
                expected = run({.name = "plain"}, {.device = Device::cpu, .steps = 4});
  for (size_t i = 0; i < found.reports.size(); ++i) {
    EXPECT_NEAR(found.reports[i].loss / expected.reports[i].loss, 1, 2e-3);
    EXPECT_NEAR(found.reports[i].gradient_norm / expected.reports[i].gradient_norm, 1, 5e-3);
  }
}

TEST(TrainingLoop, TheLossIsNotScaledOnTheCpu) {
  const UNet network(config_of({.name = "plain"}), 3);
  EXPECT_THROW(Optimiser(network, {.scale_loss = true}), Error);
}

TEST(TrainingLoop, AStepThatIsNotFiniteIsLeftOutOnTheCpu) {
  const Outcome found = run({.name = "plain"}, {.device = Device::cpu, .poison = true, .steps = 6});
  EXPECT_EQ(found.steps, 5);
  EXPECT_EQ(found.averaged, 5);
  for (const StepReport& report : found.reports) EXPECT_EQ(report.finite, report.step != poisoned);
}

TEST(TrainingLoop, ContinuesBitForBitOnTheCpu) {
  const Case c{.name = "plain", .accumulate = 2, .dropout = 0.1};
  expect_same(run(c, {.device = Device::cpu, .steps = 6, .resume_at = 3}),
              run(c, {.device = Device::cpu, .steps = 6}));
}

}  // namespace
}  // namespace tw
