// Which sampler draws the images, as options of tw-sample and as text in every PNG.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/cli/options.h"
#include "diffusion/sampler/loop.h"
#include "diffusion/schedule.h"

namespace tw {

struct SamplerSettings {
  std::string sampler = "ddim";
  int64_t steps = 50;
  double eta = 0;
  std::string spacing = "model";  // model: what the model folder says, else trailing
  std::string variance = "model";
  bool no_clip = false;
  int64_t label = -1;  // class; negative: unconditional
  double guidance = 1;

  void declare(Options& options);
  nlohmann::ordered_json to_json() const;
  void read(const nlohmann::ordered_json& json);  // what to_json wrote; throws Error{data}
};

// What a model folder says about sampling beyond the schedule; the defaults are those of models trained here.
struct SamplingDefaults {
  std::string spacing = "trailing";
  int64_t steps_offset = 0;
  bool clip = true;
  double clip_range = 1;
  bool set_alpha_to_one = true;
  std::string ddim_previous = "list";
  std::string variance = "fixed_small";  // ddpm
};

// Throws Error{usage} naming the option that does not fit the schedule.
SamplerTable make_table(const Schedule& schedule, Prediction prediction, const SamplingDefaults& defaults,
                        const SamplerSettings& settings);

}  // namespace tw
