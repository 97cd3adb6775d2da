#include "apps/bench/network_job.h"

#include <filesystem>

#include "apps/cli/precision.h"
#include "apps/sampling/diffusion_model.h"
#include "apps/sampling/draw.h"
#include "autograd/ops/mse_loss.h"
#include "diffusion/inverse/dps.h"
#include "diffusion/inverse/mask.h"
#include "diffusion/objective.h"
#include "diffusion/sampler/ddpm.h"
#include "diffusion/timesteps.h"
#include "kernels/op/profile.h"
#include "nn/optimiser.h"
#include "tensor/arena.h"
#include "tensor/cuda_library.h"
#include "tensor/error.h"
#include "tensor/io/safetensors.h"
#include "tensor/random.h"
#include "tensor/transfer.h"

namespace tw {
namespace {

struct Enough {};

std::vector<uint64_t> first_seeds(int64_t n) {
  std::vector<uint64_t> seeds;
  for (int64_t i = 0; i < n; ++i) seeds.push_back(static_cast<uint64_t>(i));
  return seeds;
}

Shape image_shape(const UNetConfig& config) {
  return {config.resolution, config.resolution, config.in_channels};
}

// A step on a device is queued: its time ends when it has run.
bool step_done(const NetworkJob& job, Pace& pace) {
  if (job.device == Device::cuda) cuda_wait();
  return pace.step_done();
}

int64_t run_sampling(const NetworkJob& job, UNet& network, int64_t batch, Pace& pace) {
  const Schedule schedule;
  DdpmParams params;
  params.timesteps = sampling_timesteps(Spacing::trailing, schedule.steps(), schedule.steps());
  const UNetConfig& config = network.config();
  if (config.out_channels == 2 * config.in_channels) params.variance = Variance::learned_range;
  const SamplerTable table = ddpm_table(schedule, params);
  SeededNoise noise(first_seeds(batch), image_shape(config), job.device);
  LoopOptions options;
  options.observe = [&](const StepView&) {
    if (!step_done(job, pace)) throw Enough{};
  };
  options.scope = planned_steps(PlannedArena::on(job.device));
  int64_t nodes = 0;
  options.repeat = !kernels::Profile::current();  // which times ops one by one
  options.captured = [&](int64_t count) { nodes = count; };
  DrawSettings settings;
  settings.height = settings.width = config.resolution;
  settings.channels = config.in_channels;
  const Denoiser denoiser = denoiser_of(network, table, batch, settings);
  const auto mask =
      std::make_shared<Mask>(random_mask(config.resolution, config.resolution, 0.5, 0), job.device);
  const Tensor measured = mask->apply(
      random_normal(image_shape(config), first_seeds(batch), 0, Purpose::measurement, job.device));
  try {
    for (;;) {
      pace.start();
      const Tensor x_T = noise.start();
      if (job.mode == "sample")
        sample(denoiser, table, x_T, noise, options);
      else
        dps(denoiser, table, *mask, measured, {}, x_T, noise, options);
    }
  } catch (const Enough&) {
  }
  return nodes;
}

// Noise, forward, backward, clip, Adam.
void run_training(const NetworkJob& job, UNet& network, int64_t batch, Pace& pace) {
  const Schedule schedule;
  Optimiser optimiser(network, {.decoupled = false, .clip_norm = 1, .scale_loss = job.precision == "f16"});
  const Tensor images =
      random_normal(image_shape(network.config()), first_seeds(batch), 0, Purpose::measurement, job.device);
  uint64_t step = 0;
  PlannedLoop memory(PlannedArena::on(job.device));
  pace.start();
  do {
    memory.step([&] {
      const NoisedBatch noised = noise_batch(schedule, {}, images, 0, step);
      network.set_dropout_key(0, step++);
      backward(training_loss(noised, network.forward(noised.x_t, noised.timesteps)).loss,
               optimiser.loss_scale());
      optimiser.step(2e-4);
      return true;
    });
  } while (step_done(job, pace));
}

void prepare(const NetworkJob& job, UNet& network) {
  if (job.mode == "train") {
    network.train();
    network.freeze(false);
  } else {
    network.freeze();
    network.keep_only_packed(job.mode == "sample" ? WeightUse::sampling : WeightUse::guided_sampling);
    network.evaluate();
  }
}

}  // namespace

std::unique_ptr<UNet> NetworkJob::network() const {
  const DType activations = precision_dtype(precision, device);
  const DType weights = mode == "train" ? DType::f32 : activations;
  std::unique_ptr<UNet> result;
  if (std::filesystem::is_directory(model)) {
    result = std::move(load_diffusion_model(model, weights).network);
  } else {
    UNetConfig config = config_of_preset_or_file(model);
    if (resolution > 0) config.resolution = resolution;
    result = std::make_unique<UNet>(config, 0);
  }
  result->set_activation_dtype(activations);
  result->to(weights);
  result->to(device);
  return result;
}

int64_t run_steps(const NetworkJob& job, UNet& network, int64_t batch, Pace& pace) {
  prepare(job, network);
  if (job.mode != "train") return run_sampling(job, network, batch, pace);
  run_training(job, network, batch, pace);
  return 0;
}

void check_step(const NetworkJob& job, UNet& network, const std::string& inputs, const std::string& outputs) {
  prepare(job, network);
  const SafeTensors file = load_safetensors(inputs);
  const auto placed = [&](const char* name) {
    return to_device(channels_last(file.at(name).to(DType::f32)), job.device);
  };
  const Tensor x = placed("x"), v = placed("v"), t = file.at("t").to(DType::f32).contiguous();
  std::map<std::string, Tensor> results;
  if (job.mode == "sample") {
    const NoGrad no_grad;
    results["y"] = channels_first(network.forward(x, t).value().to(DType::f32));
  } else {
    const Var input = Var::leaf(x, job.mode == "dps");
    const Var y = network.forward(input, t);
    results["y"] = channels_first(y.value().to(DType::f32));
    if (job.mode == "dps") {
      results["dx"] = channels_first(grad({y}, {input}, {v})[0].to(DType::f32));
    } else {
      const Var loss = mse_loss(y, v);
      results["loss"] = loss.value().to(DType::f32);
      backward(loss);
      for (Parameter& parameter : network.parameters())
        if (parameter.name == "conv_in.weight")
          results["dw"] = parameter.value.grad().permute({3, 2, 0, 1}).contiguous();
    }
  }
  save_safetensors(outputs, results);
}

}  // namespace tw
