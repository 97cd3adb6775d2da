// tw-bench net: seconds an image and peak memory of a U-Net in sampling, guided sampling and training. One
// JSON row a job, in the format of bench/peers/ddpm_unet_torch.py. docs/cli.md
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>

#include "apps/cli/memory.h"
#include "apps/cli/options.h"
#include "apps/cli/profiling.h"
#include "apps/cli/run_main.h"
#include "apps/cli/version.h"
#include "apps/sampling/diffusion_model.h"
#include "apps/sampling/draw.h"
#include "diffusion/inverse/dps.h"
#include "diffusion/inverse/mask.h"
#include "diffusion/objective.h"
#include "diffusion/sampler/ddpm.h"
#include "diffusion/timesteps.h"
#include "kernels/cpu/thread_pool.h"
#include "nn/optimiser.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/random.h"

namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

struct Job {
  std::string model = "ddpm-cifar10", mode = "sample", precision = "f32";
  int64_t repeat = 5;
};

constexpr int64_t warm_up = 3;  // packs the weights, records the memory plan, replays it once

tw::Tensor random_images(int64_t batch, const tw::UNetConfig& config) {
  std::vector<uint64_t> seeds;
  for (int64_t i = 0; i < batch; ++i) seeds.push_back(static_cast<uint64_t>(i));
  return tw::random_normal({config.resolution, config.resolution, config.in_channels}, seeds, 0,
                           tw::Purpose::measurement);
}

// Seconds of each step of a sampling loop, without the warm-up.
std::vector<double> time_sampling(tw::UNet& network, const Job& job, int64_t batch,
                                  tw::Profiling& profiling) {
  const tw::Schedule schedule;
  tw::DdpmParams params;
  params.timesteps = tw::sampling_timesteps(tw::Spacing::trailing, warm_up + job.repeat, schedule.steps());
  const tw::SamplerTable table = tw::ddpm_table(schedule, params);
  const tw::UNetConfig& config = network.config();
  std::vector<uint64_t> seeds;
  for (int64_t i = 0; i < batch; ++i) seeds.push_back(static_cast<uint64_t>(i));
  tw::SeededNoise noise(seeds, tw::Shape{config.resolution, config.resolution, config.in_channels});

  std::vector<double> seconds;
  Clock::time_point last;
  tw::LoopOptions options;
  options.observe = [&](const tw::StepView& view) {
    const auto now = Clock::now();
    if (view.step >= warm_up) seconds.push_back(std::chrono::duration<double>(now - last).count());
    if (view.step + 1 == warm_up) profiling.warm();
    last = Clock::now();
  };
  options.scope = tw::planned_steps(std::make_shared<tw::PlannedArena>());
  network.freeze();
  network.keep_only_packed(job.mode == "sample" ? tw::WeightUse::sampling : tw::WeightUse::guided_sampling);
  network.evaluate();
  tw::DrawSettings settings;
  settings.height = settings.width = config.resolution;
  settings.channels = config.in_channels;
  const tw::Denoiser denoiser = tw::denoiser_of(network, table, batch, settings);
  if (job.mode == "sample") {
    tw::sample(denoiser, table, noise.start(), noise, options);
  } else {
    const auto mask =
        std::make_shared<tw::Mask>(tw::random_mask(config.resolution, config.resolution, 0.5, 0));
    const tw::Tensor measured = mask->apply(random_images(batch, config));
    tw::dps(denoiser, table, *mask, measured, {}, noise.start(), noise, options);
  }
  return seconds;
}

// Seconds of each training step: noise, forward, backward, clip, Adam.
std::vector<double> time_training(tw::UNet& network, const Job& job, int64_t batch,
                                  tw::Profiling& profiling) {
  const tw::Schedule schedule;
  tw::Optimiser optimiser(network, {.decoupled = false, .clip_norm = 1});
  const tw::Tensor images = random_images(batch, network.config());
  network.train();
  std::vector<double> seconds;
  for (int64_t step = 0; step < 1 + job.repeat; ++step) {
    if (step == 1) profiling.warm();
    const auto begin = Clock::now();
    const tw::NoisedBatch noised = tw::noise_batch(schedule, {}, images, 0, static_cast<uint64_t>(step));
    network.set_dropout_key(0, static_cast<uint64_t>(step));
    tw::backward(tw::training_loss(noised, network.forward(noised.x_t, noised.timesteps)).loss);
    optimiser.step(2e-4);
    if (step > 0) seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return seconds;
}

Json measure(const Job& job, int64_t batch, tw::Profiling& profiling) {
  tw::UNet network(tw::config_of_preset_or_file(job.model), 0);
  if (job.precision == "bf16") {
    network.set_activation_dtype(tw::DType::bf16);
    if (job.mode != "train") network.to(tw::DType::bf16);
  }
  std::vector<double> seconds = job.mode == "train" ? time_training(network, job, batch, profiling)
                                                    : time_sampling(network, job, batch, profiling);
  std::vector<double> sorted = seconds;
  std::sort(sorted.begin(), sorted.end());
  const size_t middle = sorted.size() / 2;
  const double median = sorted.size() % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return {{"mode", job.mode},           {"batch", batch},
          {"precision", job.precision}, {"seconds_per_image", median / static_cast<double>(batch)},
          {"seconds", seconds},         {"peak_rss_bytes", tw::peak_resident_bytes()}};
}

int bench(int argc, char** argv) {
  Job job;
  std::string what = "net", json;
  std::vector<int64_t> batches{1, 4, 16};
  int64_t threads = 0;
  tw::Options options("tw-bench", "Times a network: median seconds an image, peak resident memory.");
  options.add("what", what, "net", "net");
  options.add("--model", job.model, "preset or CONFIG.json", "MODEL");
  options.add_choice("--mode", job.mode, {"sample", "dps", "train"},
                     "a sampling step, one with a gradient to the image, or a training step");
  options.add("--batch", batches, "batch sizes");
  options.add_choice("--precision", job.precision, {"f32", "bf16"}, "of activations, and of frozen weights");
  options.add("--repeat", job.repeat, "timed steps; the median counts");
  options.add("--threads", threads, "threads; 0: as many as processors");
  options.add("--json", json, "write the rows to this file", "FILE");
  tw::Profiling profiling;
  profiling.declare(options);
  options.footer("Peak memory is of the whole process: give one batch size for its own peak.");
  if (!options.parse(argc, argv)) return tw::exit_ok;
  if (what != "net") throw tw::Error("expected 'net', got '" + what + "'");
  tw::check(job.repeat >= 1 && job.repeat <= 900, "--repeat", "must lie between 1 and 900, got ", job.repeat);
  tw::check(threads >= 0 && threads <= 1024, "--threads", "must lie between 0 and 1024, got ", threads);
  for (int64_t batch : batches)
    tw::check(batch >= 1 && batch <= 4096, "--batch", "must lie between 1 and 4096, got ", batch);
  if (threads > 0) tw::kernels::set_thread_count(static_cast<int>(threads));

  Json result{{"program", "tweedie " + tw::version_text()},
              {"threads", tw::kernels::thread_count()},
              {"model", job.model},
              {"build", tw::build_description()},
              {"rows", Json::array()}};
  profiling.begin();
  for (int64_t batch : batches) {
    const Json row = measure(job, batch, profiling);
    std::printf("%-6s batch %3lld %-4s %9.2f ms/image  peak %7.0f MiB\n", job.mode.c_str(),
                static_cast<long long>(batch), job.precision.c_str(),
                row["seconds_per_image"].get<double>() * 1e3,
                row["peak_rss_bytes"].get<double>() / (1 << 20));
    std::fflush(stdout);
    result["rows"].push_back(row);
  }
  profiling.finish();
  if (!json.empty()) tw::write_file_atomically(json, result.dump(1) + "\n");
  return tw::exit_ok;
}

}  // namespace

int main(int argc, char** argv) {
  return tw::run_main("tw-bench", [&] { return bench(argc, argv); });
}
