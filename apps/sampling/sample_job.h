// What tw-sample does: images from a model folder, one for each seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/cli/device.h"
#include "apps/cli/options.h"
#include "apps/sampling/sampler_settings.h"

namespace tw {

struct SampleJob {
  std::string model;
  SamplerSettings sampler;
  std::string seeds;
  int64_t num = 0;  // seeds 0 .. num - 1
  int64_t batch = 8;
  std::string precision = "f32";
  DeviceOption device;
  bool exact = false;  // adds to TW_EXACT, kernels/cpu/exact.h
  std::string inject;
  std::string reproduce;

  std::string out;
  bool skip_existing = false;
  std::string grid;
  int64_t columns = 0;
  std::string save_tensor;
  std::string trajectory;
  int64_t every = 1;
  std::string what = "x0";

  int64_t threads = 0;
  bool quiet = false;

  void declare(Options& options);
  void validate(const Options& options) const;  // throws Error{usage} naming the option
};

// Returns an exit code: exit_ok, exit_interrupted after Ctrl-C (whole images are left), or exit_numeric when
// --reproduce drew something else.
int run(const SampleJob& job);

}  // namespace tw
