#include "apps/sampling/sampler_settings.h"

#include "diffusion/sampler/ddim.h"
#include "diffusion/sampler/ddpm.h"
#include "diffusion/timesteps.h"

namespace tw {

void SamplerSettings::declare(Options& options) {
  options.group("Sampler");
  options.add_choice("--sampler", sampler, {"ddpm", "ddim"}, "how to go from noise to image");
  options.add("--steps", steps, "network evaluations an image");
  options.add("--eta", eta, "ddim: fresh noise, 0 (none) to 1 (as ddpm)");
  options.add_choice("--spacing", spacing, {"model", "leading", "linspace", "trailing"},
                     "which timesteps to visit");
  options.add_choice("--variance", variance, {"model", "fixed_small", "fixed_large", "learned_range"},
                     "ddpm: size of the fresh noise");
  options.add("--no-clip", no_clip, "do not keep the predicted image in range");
  options.add("--class", label, "draw this class; negative: unconditional");
  options.add("--guidance", guidance, "classifier-free guidance weight; 1: plain conditional");
}

nlohmann::ordered_json SamplerSettings::to_json() const {
  return {{"sampler", sampler},   {"steps", steps},     {"eta", eta},     {"spacing", spacing},
          {"variance", variance}, {"no-clip", no_clip}, {"class", label}, {"guidance", guidance}};
}

void SamplerSettings::read(const nlohmann::ordered_json& json) {
  try {
    json.at("sampler").get_to(sampler);
    json.at("steps").get_to(steps);
    json.at("eta").get_to(eta);
    json.at("spacing").get_to(spacing);
    json.at("variance").get_to(variance);
    json.at("no-clip").get_to(no_clip);
    json.at("class").get_to(label);
    json.at("guidance").get_to(guidance);
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::data, std::string("sampler settings: ") + error.what());
  }
}

SamplerTable make_table(const Schedule& schedule, Prediction prediction, const SamplingDefaults& defaults,
                        const SamplerSettings& settings) {
  check(settings.steps >= 1 && settings.steps <= schedule.steps(), "--steps", "must lie between 1 and ",
        schedule.steps(), " (the model's schedule), got ", settings.steps);
  check(settings.eta >= 0 && settings.eta <= 1, "--eta", "must lie between 0 and 1, got ", settings.eta);
  const Spacing spacing =
      spacing_from_name(settings.spacing == "model" ? defaults.spacing : settings.spacing);
  const int64_t offset = spacing == Spacing::leading ? defaults.steps_offset : 0;
  const auto timesteps = sampling_timesteps(spacing, settings.steps, schedule.steps(), offset);
  ImageRange range;
  range.clip = defaults.clip && !settings.no_clip;
  range.limit = defaults.clip_range;
  if (settings.sampler == "ddpm") {
    DdpmParams params;
    params.timesteps = timesteps;
    params.prediction = prediction;
    params.variance =
        variance_from_name(settings.variance == "model" ? defaults.variance : settings.variance);
    params.range = range;
    return ddpm_table(schedule, params);
  }
  DdimParams params;
  params.timesteps = timesteps;
  params.prediction = prediction;
  params.eta = settings.eta;
  params.set_alpha_to_one = defaults.set_alpha_to_one;
  params.previous = ddim_previous_from_name(defaults.ddim_previous);
  params.range = range;
  return ddim_table(schedule, params);
}

}  // namespace tw
