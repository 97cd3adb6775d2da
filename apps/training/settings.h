// Everything that decides a training run, as options of tw-train and as config.json of its run folder.
#pragma once

#include <cstdint>
#include <string>

#include "apps/cli/device.h"
#include "apps/cli/options.h"

namespace tw {

struct TrainingSettings {
  // Data
  std::string data = "emoji";
  int64_t resolution = 32;
  bool flip = false;
  bool strict = false;
  bool conditional = false;  // train with class labels
  double drop_class = 0.1;
  bool balance = false;  // every class equally often

  // Model
  std::string model = "emoji-32";
  std::string init;
  std::string schedule = "linear";
  int64_t timesteps = 1000;
  std::string prediction = "epsilon";
  std::string loss_weight = "uniform";
  double dropout = -1;  // negative: what the model's config says

  // Optimisation
  int64_t steps = 10000;
  int64_t batch = 16;
  int64_t accumulate = 1;
  double lr = 2e-4;
  std::string lr_schedule = "constant";
  int64_t warmup = 500;
  double clip = 1.0;
  double weight_decay = 0;
  double beta1 = 0.9, beta2 = 0.999;
  double ema = 0.9999;
  std::string precision = "f32";
  DeviceOption device;
  bool exact = false;  // adds to TW_EXACT, kernels/cpu/exact.h
  bool recompute = false;
  int64_t patience = 20;  // non-finite steps in a row before giving up
  uint64_t seed = 0;

  // Output
  std::string out;
  std::string resume;
  int64_t log_every = 10;
  int64_t sample_every = 1000;
  int64_t sample_count = 16;
  int64_t sample_steps = 50;
  int64_t checkpoint_every = 1000;
  int64_t keep = 3;
  std::string save_dtype = "f32";
  int64_t threads = 0;
  bool quiet = false;

  void declare(Options& options);
  void validate() const;  // throws Error{usage} naming the option

  // The settings that decide what a step computes: equal settings give equal weights.
  nlohmann::ordered_json identity() const;
};

}  // namespace tw
