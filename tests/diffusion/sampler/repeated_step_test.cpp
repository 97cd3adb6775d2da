// A step that is captured as a CUDA graph and repeated, against the same steps one by one.
#include <gtest/gtest.h>

#include <limits>
#include <memory>

#include "autograd/ops/binary.h"
#include "diffusion/inverse/dps.h"
#include "diffusion/inverse/mask.h"
#include "diffusion/sampler/ddim.h"
#include "diffusion/sampler/ddpm.h"
#include "diffusion/sampler/step_runner.h"
#include "diffusion/timesteps.h"
#include "nn/unet/unet.h"
#include "tensor/cuda_library.h"
#include "tensor/transfer.h"
#include "tests/small_unet.h"

namespace tw {
namespace {

const std::vector<uint64_t> seeds{3, 14};
const Schedule schedule;

class CudaRepeatedStep : public testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  }

  static std::vector<int64_t> steps(int64_t n) { return sampling_timesteps(Spacing::trailing, n, 1000); }

  static std::unique_ptr<UNet> network_for(const SamplerTable& table) {
    auto network = small_unet(table.learned == LearnedVariance::none ? 3 : 6);
    network->to(Device::cuda);
    network->freeze();
    return network;
  }

  // All rows of the schedule in one table, and the step's row where the graph finds it: there by the host, or
  // picked by the step itself.
  static Denoiser denoiser(const UNet& network, const SamplerTable& table, bool selects = false) {
    std::vector<float> timesteps;
    for (int64_t t : table.timesteps()) timesteps.push_back(static_cast<float>(t));
    const auto times = std::make_shared<CurrentTimes>();
    times->load(network.time_table(timesteps));
    const auto evaluate = [times, &network](const Var& x, int64_t) {
      return network.forward(x, times->table(), 0);
    };
    if (selects) return {evaluate, [](int64_t) {}, [times](const Tensor& row) { times->select(row); }};
    return {evaluate, [times](int64_t step) { times->set(step); }};
  }

  // x_0, then what the observer saw of x and x0 in every step.
  static std::vector<std::vector<double>> results(const SamplerTable& table, bool repeat, bool guided) {
    const auto network = network_for(table);
    SeededNoise noise(seeds, {8, 8, 3});
    std::vector<std::vector<double>> found;
    const LoopOptions options{.observe =
                                  [&](const StepView& view) {
                                    found.push_back(view.x.to_vector());
                                    found.push_back(view.x0.to_vector());
                                    if (guided) found.push_back(view.loss.to_vector());
                                  },
                              .scope = planned_steps(PlannedArena::on(Device::cuda)),
                              .repeat = repeat};
    const Tensor x_T = to_device(noise.start(), Device::cuda);
    const Denoiser evaluate = denoiser(*network, table);
    if (!guided) {
      found.push_back(sample(evaluate, table, x_T, noise, options).to_vector());
      return found;
    }
    const auto mask = std::make_shared<Mask>(box_mask(8, 8, 2, 2, 4, 4), Device::cuda);
    const Tensor y = mask->apply(to_device(random_tensor({2, 8, 8, 3}, DType::f32, 77), Device::cuda));
    found.push_back(dps(evaluate, table, *mask, y, {.scale = 0.5}, x_T, noise, options).to_vector());
    return found;
  }
};

TEST_F(CudaRepeatedStep, SamplesWhatTheStepsOneByOneSample) {
  for (const SamplerTable& table :
       {ddim_table(schedule, {.timesteps = steps(4)}),
        ddpm_table(schedule, {.timesteps = steps(4), .variance = Variance::learned_range})})
    EXPECT_EQ(results(table, true, false), results(table, false, false));
}

TEST_F(CudaRepeatedStep, RestoresWhatTheStepsOneByOneRestore) {
  const SamplerTable table =
      ddpm_table(schedule, {.timesteps = steps(4), .variance = Variance::learned_range});
  EXPECT_EQ(results(table, true, true), results(table, false, true));
}

// Draws of seeds that says how many the host has asked for.
class CountedNoise : public SeededNoise {
 public:
  using SeededNoise::SeededNoise;
  Tensor draw(int64_t k) override {
    ++drawn;
    return SeededNoise::draw(k);
  }
  int drawn = 0;
};

// The same images with nothing from the host between two steps: number, coefficients, time, draws and x are
// the step's own.
TEST_F(CudaRepeatedStep, NeedsNothingFromTheHostInBetween) {
  const SamplerTable table = ddpm_table(schedule, {.timesteps = sampling_timesteps(Spacing::leading, 6, 1000),
                                                   .variance = Variance::learned_range});
  const auto network = network_for(table);
  for (const bool guided : {false, true}) {
    const auto run = [&](bool repeat, CountedNoise& noise) {
      const LoopOptions options{
          .observe = {}, .scope = planned_steps(PlannedArena::on(Device::cuda)), .repeat = repeat};
      const Tensor x_T = to_device(noise.start(), Device::cuda);
      const Denoiser evaluate = denoiser(*network, table, repeat);
      if (!guided) return sample(evaluate, table, x_T, noise, options).to_vector();
      const auto mask = std::make_shared<Mask>(box_mask(8, 8, 2, 2, 4, 4), Device::cuda);
      const Tensor y = mask->apply(to_device(random_tensor({2, 8, 8, 3}, DType::f32, 77), Device::cuda));
      return dps(evaluate, table, *mask, y, {.scale = 0.5}, x_T, noise, options).to_vector();
    };
    CountedNoise host(seeds, {8, 8, 3}), device(seeds, {8, 8, 3});
    EXPECT_EQ(run(true, device), run(false, host)) << guided;
    EXPECT_EQ(host.drawn, 5) << "none at t = 0";
    EXPECT_EQ(device.drawn, 0);
  }
}

// Kernels, copies and graphs that were queued; what is within a graph counts once, with it.
int64_t queued() {
  int64_t count = 0;
  cuda_call("tw_emulated_queued", &count);
  return count;
}

TEST_F(CudaRepeatedStep, IsOneLaunchAndNothingElse) {
  try {
    queued();
  } catch (const Error&) {
    GTEST_SKIP() << "only the emulated device counts what is queued";
  }
  const SamplerTable table =
      ddpm_table(schedule, {.timesteps = steps(8), .variance = Variance::learned_range});
  const auto network = network_for(table);
  const auto mask = std::make_shared<Mask>(box_mask(8, 8, 2, 2, 4, 4), Device::cuda);
  for (const bool guided : {false, true})
    for (const bool from_file : {false, true}) {
      SeededNoise seeded(seeds, {8, 8, 3});
      InjectedNoise injected(random_tensor({2, 3, 8, 8}), random_tensor({8, 2, 3, 8, 8}));
      NoiseSource& noise = from_file ? static_cast<NoiseSource&>(injected) : seeded;
      const Denoiser inner = denoiser(*network, table, true);
      std::vector<int64_t> before;  // each step
      const Denoiser counting{[&](const Var& x, int64_t step) { return inner(x, step); },
                              [&](int64_t) { before.push_back(queued()); },
                              [&](const Tensor& row) { inner.select(row); }};
      const Tensor x_T = to_device(noise.start(), Device::cuda), y = mask->apply(x_T);
      const LoopOptions options{
          .observe = {}, .scope = planned_steps(PlannedArena::on(Device::cuda)), .repeat = true};
      if (guided)
        dps(counting, table, *mask, y, {}, x_T, noise, options);
      else
        sample(counting, table, x_T, noise, options);
      ASSERT_EQ(before.size(), 8u);
      EXPECT_GT(before[1] - before[0], 20) << "one by one";
      for (size_t i = 3; i + 1 < before.size(); ++i) {
        const int64_t in_step = before[i + 1] - before[i];
        if (from_file)
          EXPECT_EQ(in_step, 3) << "the draw to the device, to its place, the launch";
        else
          EXPECT_EQ(in_step, 1) << "step " << i << (guided ? ", guided" : "");
      }
    }
}

TEST_F(CudaRepeatedStep, IsCapturedInTheThirdStep) {
  const SamplerTable table = ddpm_table(schedule, {.timesteps = steps(4)});
  const auto network = network_for(table);
  const Denoiser evaluate = denoiser(*network, table);
  SeededNoise noise(seeds, {8, 8, 3});
  Tensor x = to_device(noise.start(), Device::cuda);
  const Tensor next = x.clone();
  const LoopOptions options{
      .observe = {}, .scope = planned_steps(PlannedArena::on(Device::cuda)), .repeat = true};
  StepRunner runner(table, evaluate, x, noise, options);
  ASSERT_TRUE(runner.repeats());
  const NoGrad no_grad;
  for (int64_t i = 0; i < 4; ++i) {
    int runs = 0;
    runner.prepare(i);
    runner.run(x, next, [&] { evaluate(x, i), ++runs; });
    EXPECT_EQ(runs, i < 3 ? 1 : 0);
    EXPECT_EQ(runner.graph().captured(), i >= 2);
  }
  EXPECT_GT(runner.graph().nodes(), 20);
  // Thresholds of dynamic clipping are computed on the host; a function alone says nothing of its steps.
  EXPECT_FALSE(StepRunner(ddpm_table(schedule, {.timesteps = steps(4), .range = {.dynamic = true}}), evaluate,
                          x, noise, options)
                   .repeats());
  EXPECT_FALSE(StepRunner(
                   table, [](const Var& x, int64_t) { return x; }, x, noise, options)
                   .repeats());
}

// Read only after 16 steps, and yet the first of them is named.
TEST_F(CudaRepeatedStep, AResidualThatIsNotFiniteIsTracedToItsStep) {
  const SamplerTable table = ddpm_table(schedule, {.timesteps = steps(6)});
  const Tensor poison = Tensor::zeros({1, 1, 1, 3}, DType::f32, Device::cuda);
  const Denoiser evaluate{[&](const Var& x, int64_t) { return add(x, Var(poison)); },
                          [&](int64_t step) {
                            Tensor now = poison;
                            if (step == 4) now.fill(std::numeric_limits<double>::quiet_NaN());
                          }};
  SeededNoise noise(seeds, {8, 8, 3});
  const auto mask = std::make_shared<Mask>(box_mask(8, 8, 2, 2, 4, 4), Device::cuda);
  const Tensor x_T = to_device(noise.start(), Device::cuda), y = mask->apply(x_T);
  const LoopOptions options{
      .observe = {}, .scope = planned_steps(PlannedArena::on(Device::cuda)), .repeat = true};
  try {
    dps(evaluate, table, *mask, y, {}, x_T, noise, options);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::numeric);
    EXPECT_NE(std::string(error.what()).find("at timestep " + std::to_string(table.timesteps()[4])),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace tw
