// tw_bench_gpu: steps of the networks that bench/gpu/compare.py compares with PyTorch, and what the device
// can do at most. Needs none of the applications' libraries. One line of JSON on standard output.
//
//   tw_bench_gpu steps NETWORK sample|dps|train BATCH f32|bf16|f16 cuda|cpu SECONDS repeat|one-by-one|profile
//   tw_bench_gpu machine cuda|cpu
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "diffusion/inverse/dps.h"
#include "diffusion/inverse/mask.h"
#include "diffusion/sampler/ddpm.h"
#include "diffusion/timesteps.h"
#include "diffusion/training_loop.h"
#include "kernels/op/device_rates.h"
#include "kernels/op/profile.h"
#include "nn/unet/cost.h"
#include "nn/unet/unet.h"
#include "tensor/cuda_library.h"
#include "tensor/error.h"
#include "tensor/random.h"
#include "tensor/transfer.h"

namespace {

using namespace tw;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Enough {};

struct Job {
  std::string network, mode;
  int64_t batch = 1;
  DType dtype = DType::f32;
  Device device = Device::cuda;
  double seconds = 1;
  bool repeat = true;    // as a graph
  bool profile = false;  // what each op took in a few steps, one by one
};

UNetConfig config_of(const std::string& name) {
  if (name != "unet-64") return unet_preset(name);
  UNetConfig config;  // of github.com/clu0/unet.cu
  config.resolution = 64;
  config.base = 64;
  config.multipliers = {1, 2, 3, 4};
  config.attention_resolutions = {16, 8};
  return config;
}

std::vector<uint64_t> seeds(int64_t n) {
  std::vector<uint64_t> all;
  for (int64_t i = 0; i < n; ++i) all.push_back(static_cast<uint64_t>(i));
  return all;
}

void wait(Device device) {
  if (device == Device::cuda) cuda_wait();
}

double since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Steps are queued: their time is that of a few, waited for at the end.
class Timer {
 public:
  explicit Timer(const Job& job) : job_(job), together_(job.device == Device::cuda ? 10 : 1) {}

  // False when there have been enough.
  bool step_done() {
    if (++steps_ < warm_up) {
      if (steps_ == 2) after_first_ = bytes();
      if (steps_ == 3) bytes_ = bytes() - after_first_;
      return true;
    }
    if (steps_ == warm_up) {
      if (job_.profile)
        profile_.restart();
      else
        scope_.reset();
      wait(job_.device);
      start_ = begin_ = Clock::now();
      return true;
    }
    if ((steps_ - warm_up) % together_ != 0) return true;
    wait(job_.device);
    seconds_.push_back(since(begin_) / static_cast<double>(together_));
    begin_ = Clock::now();
    if (job_.profile) {
      scope_.reset();
      return false;
    }
    return since(start_) < job_.seconds;
  }

  const std::vector<double>& seconds() const { return seconds_; }
  double bytes_of_step() const { return bytes_; }
  // A step's time by op, the longest first, with what it computes and moves and what the roofline allows it.
  Json ops(const kernels::MachineRates& rates) const {
    std::vector<kernels::Profile::Row> rows = profile_.rows();
    std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
    Json list = Json::array();
    const auto steps = static_cast<double>(together_);
    for (const auto& row : rows) {
      const auto calls = static_cast<double>(row.count);
      list.push_back(
          {{"op", row.op},
           {"method", row.method},
           {"shapes", row.shapes},
           {"calls", calls / steps},
           {"seconds", row.seconds / steps},
           {"flops", row.flops / steps},
           {"bytes", row.bytes / steps},
           {"roofline_seconds",
            calls / steps * rates.least_seconds(row.flops / calls, row.bytes / calls, row.dtype)}});
    }
    return list;
  }

 private:
  static constexpr int64_t warm_up = 5;  // caches, the memory plan, the graph, and two of its launches

  double bytes() const {
    double sum = 0;
    for (const auto& row : profile_.rows()) sum += row.bytes;
    return sum;
  }

  const Job& job_;
  int64_t steps_ = 0, together_;
  kernels::Profile profile_;
  std::optional<kernels::ProfileScope> scope_{std::in_place, profile_};
  double after_first_ = 0, bytes_ = 0;
  Clock::time_point start_, begin_;
  std::vector<double> seconds_;
};

int64_t run_sampling(const Job& job, UNet& network, Timer& timer) {
  const UNetConfig& config = network.config();
  const Schedule schedule;
  DdpmParams params;
  params.timesteps = sampling_timesteps(Spacing::trailing, 50, schedule.steps());
  if (config.out_channels == 2 * config.in_channels) params.variance = Variance::learned_range;
  SamplerTable table = ddpm_table(schedule, params);
  std::vector<float> times;
  for (int64_t t : table.timesteps()) times.push_back(static_cast<float>(t));
  CurrentTimes current;
  current.load(network.time_table(times));
  const auto rows = table.rows;
  while (table.rows.size() < 20'000) table.rows.insert(table.rows.end(), rows.begin(), rows.end());
  const Denoiser denoiser{[&](const Var& x, int64_t) { return network.forward(x, current.table(), 0); },
                          [&](int64_t step) {
                            if (!job.repeat) current.set(step % 50);
                          },
                          [&](const Tensor& row) { current.select(row); }};

  const Shape image{config.resolution, config.resolution, config.in_channels};
  SeededNoise noise(seeds(job.batch), image, job.device);
  int64_t nodes = 0;
  LoopOptions options{.observe =
                          [&](const StepView&) {
                            if (!timer.step_done()) throw Enough{};
                          },
                      .scope = planned_steps(PlannedArena::on(job.device)),
                      .repeat = job.repeat,
                      .captured = [&](int64_t count) { nodes = count; }};
  const Tensor x_T = to_device(noise.start(), job.device);
  try {
    if (job.mode == "sample") {
      sample(denoiser, table, x_T, noise, options);
    } else {
      const auto mask =
          std::make_shared<Mask>(random_mask(config.resolution, config.resolution, 0.5, 0), job.device);
      dps(denoiser, table, *mask, mask->apply(x_T), {}, x_T, noise, options);
    }
  } catch (const Enough&) {
  }
  return nodes;
}

// Noise, forward, backward, clip, Adam. The images are copied to the device in every step.
int64_t run_training(const Job& job, UNet& network, Timer& timer) {
  const UNetConfig& config = network.config();
  const Schedule schedule;
  Optimiser optimiser(network, {.decoupled = false, .clip_norm = 1, .scale_loss = job.dtype == DType::f16});
  const Shape image{config.resolution, config.resolution, config.in_channels};
  const ImageBatch batch{.images = random_normal(image, seeds(job.batch), 0, Purpose::measurement),
                         .labels = {}};
  TrainingLoop loop(network, optimiser, nullptr, schedule, {.batch = job.batch, .repeat = job.repeat});
  int64_t step = 0;
  do loop.step(step++, 2e-4, [&](int64_t) { return batch; });
  while (timer.step_done());
  loop.reports();
  return loop.graph().nodes();
}

kernels::MachineRates rates_of(Device device) {
  return device == Device::cpu ? kernels::measure_machine_rates() : kernels::measure_device_rates();
}

Json machine(Device device) {
  const kernels::MachineRates rates = rates_of(device);
  return {{"bf16_flops", rates.flops_16bit > 0 ? rates.flops_16bit : rates.flops},
          {"f32_flops", rates.flops},
          {"copy_bytes", rates.levels.back().bytes_per_second}};
}

Json steps(const Job& job) {
  UNet network(config_of(job.network), 0);
  if (job.dtype != DType::f32) network.set_activation_dtype(job.dtype);
  if (job.mode == "train") {
    network.train();
  } else {
    network.freeze();
    network.to(job.dtype);
    network.keep_only_packed(job.mode == "sample" ? WeightUse::sampling : WeightUse::guided_sampling);
    network.evaluate();
  }
  if (job.device == Device::cuda) cuda_reset_peak();
  network.to(job.device);
  Timer timer(job);
  const int64_t nodes =
      job.mode == "train" ? run_training(job, network, timer) : run_sampling(job, network, timer);
  const double flops = 2.0 * static_cast<double>(unet_cost(network.config()).multiply_adds * job.batch);
  Json found{{"seconds", timer.seconds()},
             {"parameters", network.parameter_count()},
             {"flops", flops * (job.mode == "sample" ? 1
                                : job.mode == "dps"  ? 2
                                                     : 3)},
             {"bytes", timer.bytes_of_step()},
             {"graph_nodes", nodes}};
  if (job.profile) found["ops"] = timer.ops(rates_of(job.device));
  if (job.device == Device::cuda) {
    const CudaMemory memory = cuda_memory();
    found["peak_bytes"] = memory.peak;
    found["reserved_bytes"] = memory.reserved;
  }
  return found;
}

Device device_named(const std::string& name) {
  check(name == "cuda" || name == "cpu", "tw_bench_gpu", "expected cuda or cpu, found '", name, "'");
  if (name == "cuda" && !cuda_available()) throw Error(ErrorKind::data, cuda_unavailable_reason());
  return name == "cuda" ? Device::cuda : Device::cpu;
}

DType dtype_named(const std::string& name) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    if (name == dtype_name(dtype)) return dtype;
  fail("tw_bench_gpu", "expected f32, bf16 or f16, found '", name, "'");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::vector<std::string> given(argv + 1, argv + argc);
    if (given.size() == 2 && given[0] == "machine") {
      std::puts(machine(device_named(given[1])).dump().c_str());
      return 0;
    }
    check(given.size() == 8 && given[0] == "steps", "tw_bench_gpu",
          "usage: steps NETWORK sample|dps|train BATCH f32|bf16|f16 cuda|cpu SECONDS "
          "repeat|one-by-one|profile, or "
          "machine cuda|cpu");
    const Job job{.network = given[1],
                  .mode = given[2],
                  .batch = std::stoll(given[3]),
                  .dtype = dtype_named(given[4]),
                  .device = device_named(given[5]),
                  .seconds = std::stod(given[6]),
                  .repeat = given[7] == "repeat",
                  .profile = given[7] == "profile"};
    std::puts(steps(job).dump().c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tw_bench_gpu: %s\n", error.what());
    return 1;
  }
}
