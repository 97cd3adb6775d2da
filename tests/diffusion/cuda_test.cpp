// Sampling, guided sampling and the training objective on a CUDA device against the CPU.
#include <gtest/gtest.h>

#include "diffusion/inverse/dps.h"
#include "diffusion/inverse/mask.h"
#include "diffusion/objective.h"
#include "diffusion/sampler/ddim.h"
#include "diffusion/sampler/ddpm.h"
#include "diffusion/timesteps.h"
#include "nn/optimiser.h"
#include "nn/unet/unet.h"
#include "tensor/cuda_library.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"
#include "tests/small_unet.h"

namespace tw {
namespace {

const std::vector<uint64_t> seeds{3, 14};
const Schedule schedule;

std::unique_ptr<UNet> network_on(Device device, int64_t out_channels = 3) {
  auto network = small_unet(out_channels);
  network->to(device);
  return network;
}

Denoiser denoiser(const UNet& network, const SamplerTable& table) {
  return [&](const Var& x, int64_t step) {
    const double t = static_cast<double>(table.rows[static_cast<size_t>(step)].timestep);
    return network.forward(x, Tensor::full({x.dim(0)}, t));
  };
}

class CudaDiffusion : public testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  }

  // With the memory of its steps planned, and what the observer sees of x0 in the last step.
  static std::vector<Tensor> sampled(Device device, const SamplerTable& table) {
    const auto network = network_on(device, table.learned == LearnedVariance::none ? 3 : 6);
    network->freeze();
    SeededNoise noise(seeds, {8, 8, 3});
    Tensor x0;
    LoopOptions options{
        .observe = [&](const StepView& view) { x0 = to_device(view.x0.clone(), Device::cpu); },
        .scope = planned_steps(PlannedArena::on(device))};
    const Tensor x =
        sample(denoiser(*network, table), table, to_device(noise.start(), device), noise, options);
    EXPECT_EQ(x.device(), device);
    return {x, x0};
  }
  static void compare(const std::vector<Tensor>& found, const std::vector<Tensor>& expected) {
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_LE(max_error(found[i], expected[i]), 1e-4) << i;
  }
  static std::vector<int64_t> steps(int64_t n) { return sampling_timesteps(Spacing::trailing, n, 1000); }
};

TEST_F(CudaDiffusion, SamplingAgreesWithTheCpu) {
  const SamplerTable tables[] = {
      ddpm_table(schedule, {.timesteps = steps(4)}),
      ddim_table(schedule, {.timesteps = steps(4)}),
      ddpm_table(schedule, {.timesteps = steps(4), .variance = Variance::learned_range}),
  };
  for (const SamplerTable& table : tables) compare(sampled(Device::cuda, table), sampled(Device::cpu, table));
}

TEST_F(CudaDiffusion, GuidedSamplingAgreesWithTheCpu) {
  const SamplerTable table = ddpm_table(schedule, {.timesteps = steps(4)});
  const auto restored = [&](Device device) {
    const auto network = network_on(device);
    network->freeze();
    SeededNoise noise(seeds, {8, 8, 3});
    const auto mask = std::make_shared<Mask>(box_mask(8, 8, 2, 2, 4, 4), device);
    const Tensor x = to_device(random_tensor({2, 8, 8, 3}, DType::f32, 77), device);
    const Tensor y = add_measurement_noise(mask->apply(x), 0.05, seeds);
    std::vector<double> losses;
    const LoopOptions options{
        .observe = [&](const StepView& view) { losses.push_back(view.loss.to_vector()[1]); },
        .scope = planned_steps(PlannedArena::on(device))};
    const Tensor result = dps(denoiser(*network, table), table, *mask, y, {.scale = 0.5},
                              to_device(noise.start(), device), noise, options);
    return std::vector<Tensor>{y, result, Tensor::from(losses)};
  };
  compare(restored(Device::cuda), restored(Device::cpu));
}

TEST_F(CudaDiffusion, TrainingOnTheObjectiveAgreesWithTheCpu) {
  const auto trained = [&](Device device) {
    const auto network = network_on(device);
    Optimiser optimiser(*network, {.clip_norm = 1});
    Ema ema(*network, {});
    PlannedLoop memory(PlannedArena::on(device));
    const Tensor images = to_device(random_tensor({2, 8, 8, 3}, DType::f32, 9), device);
    std::vector<double> losses;
    for (uint64_t step = 0; step < 4; ++step)
      memory.step([&] {
        const NoisedBatch batch = noise_batch(schedule, {.weight = LossWeight::min_snr}, images, 5, step);
        const TrainingLoss loss = training_loss(batch, network->forward(batch.x_t, batch.timesteps));
        backward(loss.loss);
        losses.push_back(loss.loss.value().item());
        losses.push_back(optimiser.step(1e-3, 1, &ema).gradient_norm);
        return true;
      });
    std::vector<Tensor> state{Tensor::from(losses)};
    for (const Parameter& p : network->parameters()) state.push_back(to_device(p.value.value(), Device::cpu));
    return state;
  };
  compare(trained(Device::cuda), trained(Device::cpu));
}

}  // namespace
}  // namespace tw
