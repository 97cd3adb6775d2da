// What a model folder says besides its network: how the images were noised, what the network predicts, and
// what the images were. The "diffusion" and "data" parts of config.json (docs/model_folder.md).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/sampling/sampler_settings.h"
#include "diffusion/prediction.h"
#include "diffusion/schedule.h"

namespace tw {

struct ModelCard {
  ScheduleParams schedule;
  Prediction prediction = Prediction::epsilon;
  SamplingDefaults sampling;
  int64_t channels = 3;   // of the images: 1 or 3
  int64_t bit_depth = 8;  // 8 or 16; samples are written with it
  std::string data;       // where the images came from, for people
  std::vector<std::string> class_names;

  nlohmann::ordered_json diffusion_json() const;
  nlohmann::ordered_json data_json() const;
  // Throws Error{data} naming `file` and the member that is missing or wrong.
  static ModelCard from_json(const nlohmann::ordered_json& config, const std::string& file);
};

// The schedule that tw-train --schedule NAME --timesteps T means.
ScheduleParams schedule_for_training(const std::string& name, int64_t timesteps);

}  // namespace tw
