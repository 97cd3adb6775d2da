#include "apps/training/new_model.h"

#include "apps/cli/precision.h"
#include "apps/sampling/diffusion_model.h"
#include "nn/model_folder.h"
#include "tensor/error.h"

namespace tw {

UNetConfig network_config(const TrainingSettings& settings, const Dataset& data) {
  UNetConfig config = config_of_preset_or_file(settings.model);
  config.in_channels = config.out_channels = data.channels();
  config.resolution = settings.resolution;
  config.classes = settings.conditional ? data.classes() : 0;
  if (settings.dropout >= 0) config.dropout = settings.dropout;
  return config;
}

NewModel::NewModel(const TrainingSettings& settings, Device device)
    : data(open_dataset(settings.data, {.resolution = settings.resolution, .strict = settings.strict})) {
  if (data->size() < 1) fail_data(settings.data, "holds no images");
  if (settings.conditional && data->classes() == 0)
    fail("--conditional", "the data set ", settings.data, " has no classes");
  config = network_config(settings, *data);
  network = std::make_unique<UNet>(config, settings.seed);
  network->set_activation_dtype(precision_dtype(settings.precision, device));
  network->set_recompute(settings.recompute);
  network->to(device);

  card.schedule = schedule_for_training(settings.schedule, settings.timesteps);
  card.prediction = prediction_from_name(settings.prediction);
  card.data = settings.data;
  card.channels = data->channels();
  card.bit_depth = data->bit_depth();
  if (settings.conditional) card.class_names = data->class_names();

  if (settings.init.empty()) return;
  const DiffusionModel start = load_diffusion_model(settings.init);
  load_state(*network, state_of(*start.network), settings.init);
  card.schedule = start.card.schedule;  // the weights were trained for these
  card.prediction = start.card.prediction;
}

ObjectiveParams objective_of(const TrainingSettings& settings, Prediction prediction) {
  ObjectiveParams params;
  params.prediction = prediction;  // of the card: --init decides it, not --prediction
  params.weight = loss_weight_from_name(settings.loss_weight);
  return params;
}

OptimiserSettings optimiser_settings(const TrainingSettings& settings) {
  return {.beta1 = settings.beta1,
          .beta2 = settings.beta2,
          .weight_decay = settings.weight_decay,
          .clip_norm = settings.clip,
          .scale_loss = settings.precision == "f16"};
}

LearningRate learning_rate_of(const TrainingSettings& settings) {
  return {
      .base = settings.lr,
      .warmup = settings.warmup,
      .decay = settings.lr_schedule == "cosine" ? LearningRate::Decay::cosine : LearningRate::Decay::constant,
      .total = settings.steps};
}

}  // namespace tw
