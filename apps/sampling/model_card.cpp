#include "apps/sampling/model_card.h"

#include "diffusion/sampler/ddim.h"
#include "diffusion/sampler/ddpm.h"
#include "diffusion/timesteps.h"

namespace tw {

using Json = nlohmann::ordered_json;

ScheduleParams schedule_for_training(const std::string& name, int64_t timesteps) {
  ScheduleParams params;
  params.steps = timesteps;
  if (name == "linear") {
    params.kind = BetaSchedule::linear;
    params.scale_endpoints = timesteps != 1000;
  } else if (name == "scaled-linear") {
    params.kind = BetaSchedule::scaled_linear;
    params.beta_start = 0.00085;
    params.beta_end = 0.012;
  } else if (name == "cosine") {
    params.kind = BetaSchedule::squaredcos_cap_v2;
  } else if (name == "sigmoid") {
    params.kind = BetaSchedule::sigmoid_alpha_bar;
  } else {
    fail("--schedule", "expected linear, scaled-linear, cosine or sigmoid, got '", name, "'");
  }
  return params;
}

Json ModelCard::diffusion_json() const {
  Json json{{"schedule", name_of(schedule.kind)},
            {"timesteps", schedule.steps},
            {"beta_start", schedule.beta_start},
            {"beta_end", schedule.beta_end},
            {"scale_endpoints", schedule.scale_endpoints},
            {"zero_terminal_snr", schedule.zero_terminal_snr},
            {"table_precision", name_of(schedule.precision)},
            {"prediction", name_of(prediction)}};
  if (!schedule.trained_betas.empty()) json["trained_betas"] = schedule.trained_betas;
  json["sampling"] = {{"spacing", sampling.spacing},
                      {"steps_offset", sampling.steps_offset},
                      {"clip", sampling.clip},
                      {"clip_range", sampling.clip_range},
                      {"set_alpha_to_one", sampling.set_alpha_to_one},
                      {"ddim_previous", sampling.ddim_previous},
                      {"variance", sampling.variance}};
  return json;
}

Json ModelCard::data_json() const {
  return {{"source", data}, {"channels", channels}, {"bit_depth", bit_depth}, {"class_names", class_names}};
}

ModelCard ModelCard::from_json(const Json& config, const std::string& file) {
  ModelCard card;
  try {
    const Json& diffusion = config.at("diffusion");
    card.schedule.kind = beta_schedule_from_name(diffusion.at("schedule"));
    diffusion.at("timesteps").get_to(card.schedule.steps);
    card.schedule.beta_start = diffusion.value("beta_start", card.schedule.beta_start);
    card.schedule.beta_end = diffusion.value("beta_end", card.schedule.beta_end);
    card.schedule.scale_endpoints = diffusion.value("scale_endpoints", false);
    card.schedule.zero_terminal_snr = diffusion.value("zero_terminal_snr", false);
    card.schedule.precision = table_precision_from_name(diffusion.value("table_precision", "f32_diffusers"));
    card.schedule.trained_betas = diffusion.value("trained_betas", std::vector<double>());
    card.prediction = prediction_from_name(diffusion.at("prediction"));
    const Json sampling = diffusion.value("sampling", Json::object());
    SamplingDefaults& defaults = card.sampling;
    defaults.spacing = name_of(spacing_from_name(sampling.value("spacing", defaults.spacing)));
    defaults.steps_offset = sampling.value("steps_offset", defaults.steps_offset);
    defaults.clip = sampling.value("clip", defaults.clip);
    defaults.clip_range = sampling.value("clip_range", defaults.clip_range);
    defaults.set_alpha_to_one = sampling.value("set_alpha_to_one", defaults.set_alpha_to_one);
    defaults.ddim_previous =
        name_of(ddim_previous_from_name(sampling.value("ddim_previous", defaults.ddim_previous)));
    defaults.variance = name_of(variance_from_name(sampling.value("variance", defaults.variance)));
    const Json data = config.value("data", Json::object());
    card.data = data.value("source", "");
    card.channels = data.value("channels", card.channels);
    card.bit_depth = data.value("bit_depth", card.bit_depth);
    card.class_names = data.value("class_names", card.class_names);
  } catch (const nlohmann::json::exception& error) {
    fail_data(file, "malformed model config: ", error.what());
  } catch (const Error& error) {
    fail_data(file, error.what());
  }
  if (card.schedule.steps < 1 || card.schedule.steps > 1'000'000)
    fail_data(file, "diffusion.timesteps must lie between 1 and 1000000, found ", card.schedule.steps);
  if (card.bit_depth != 8 && card.bit_depth != 16)
    fail_data(file, "data.bit_depth must be 8 or 16, found ", card.bit_depth);
  return card;
}

}  // namespace tw
