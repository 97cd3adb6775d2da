// Sets a training run up: opens the data, makes the network that fits it, and fills in the model's card.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/data/dataset.h"
#include "apps/sampling/model_card.h"
#include "apps/training/settings.h"
#include "diffusion/objective.h"
#include "nn/learning_rate.h"
#include "nn/optimiser.h"
#include "nn/unet/unet.h"

namespace tw {

struct NewModel {
  NewModel(const TrainingSettings& settings, Device device);  // the network is put there

  std::unique_ptr<Dataset> data;
  UNetConfig config;
  std::unique_ptr<UNet> network;
  ModelCard card;
};

// --model: a preset's name or a JSON file, then fitted to the data: channels, resolution, classes.
UNetConfig network_config(const TrainingSettings& settings, const Dataset& data);

ObjectiveParams objective_of(const TrainingSettings& settings, Prediction prediction);
OptimiserSettings optimiser_settings(const TrainingSettings& settings);
LearningRate learning_rate_of(const TrainingSettings& settings);

}  // namespace tw
