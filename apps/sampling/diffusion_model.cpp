#include "apps/sampling/diffusion_model.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "apps/cli/suggest.h"
#include "diffusion/sampler/ddpm.h"
#include "nn/model_folder.h"
#include "nn/unet/config_json.h"
#include "nn/unet/diffusers.h"
#include "tensor/error.h"

namespace tw {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string read_text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) fail_data(file.string(), "cannot be read");
  return text.str();
}

Json read_json(const fs::path& file) {
  try {
    return Json::parse(read_text(file));
  } catch (const Json::parse_error& error) {
    fail_data(file.string(), "not JSON: ", error.what());
  }
}

namespace {

// scheduler_config.json of diffusers, with the defaults of its DDPMScheduler and DDIMScheduler.
ModelCard card_of_diffusers(const fs::path& file) {
  const Json json = read_json(file);
  ModelCard card;
  try {
    card.schedule.kind = beta_schedule_from_name(json.value("beta_schedule", "linear"));
    card.schedule.steps = json.value("num_train_timesteps", int64_t{1000});
    card.schedule.beta_start = json.value("beta_start", 1e-4);
    card.schedule.beta_end = json.value("beta_end", 0.02);
    card.schedule.zero_terminal_snr = json.value("rescale_betas_zero_snr", false);
    card.schedule.precision = TablePrecision::f32_diffusers;
    if (json.contains("trained_betas") && json["trained_betas"].is_array())
      json["trained_betas"].get_to(card.schedule.trained_betas);
    card.prediction = prediction_from_name(json.value("prediction_type", "epsilon"));
    card.sampling = {.spacing = json.value("timestep_spacing", "leading"),
                     .steps_offset = json.value("steps_offset", int64_t{0}),
                     .clip = json.value("clip_sample", true),
                     .clip_range = json.value("clip_sample_range", 1.0),
                     .set_alpha_to_one = json.value("set_alpha_to_one", true),
                     .ddim_previous = "stride",
                     .variance = name_of(variance_from_name(json.value("variance_type", "fixed_small")))};
  } catch (const Json::exception& error) {
    fail_data(file.string(), "malformed scheduler config: ", error.what());
  } catch (const Error& error) {
    fail_data(file.string(), error.what());
  }
  return card;
}

std::string hash_of(std::istream& in) {
  // FNV-1a takes a byte at a time, 0.14 s for 143 MB; this takes eight in each of four streams that do not
  // wait for one another. The rotation lets the high bits of a word reach the low ones of the hash.
  constexpr uint64_t prime = 0x9e3779b97f4a7c15u;
  const auto mixed = [](uint64_t hash, uint64_t word) { return std::rotl((hash ^ word) * prime, 29); };
  uint64_t streams[4] = {1, 2, 3, 4}, length = 0;
  std::vector<char> block(1 << 18);
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0) {
    const auto got = static_cast<size_t>(in.gcount());
    std::fill(block.begin() + static_cast<std::ptrdiff_t>(got), block.end(), '\0');
    length += got;
    for (size_t i = 0; i < got; i += 32)
      for (size_t stream = 0; stream < 4; ++stream) {
        uint64_t word = 0;
        std::memcpy(&word, &block[i + 8 * stream], 8);
        streams[stream] = mixed(streams[stream], word);
      }
  }
  uint64_t hash = length;
  for (const uint64_t stream : streams) hash = mixed(hash, stream);
  hash = (hash ^ hash >> 32) * prime;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

// The file is opened now: one that replaces it later is not what was loaded.
std::shared_future<std::string> hash_when_asked(const fs::path& file) {
  auto in = std::make_shared<std::ifstream>(file, std::ios::binary);
  if (!*in) fail_data(file.string(), "cannot be read");
  return std::async(std::launch::deferred, [in] { return hash_of(*in); }).share();
}

DiffusionModel load_diffusers(const fs::path& folder, DType weights, Device device) {
  DiffusionModel model;
  model.card = card_of_diffusers(folder / "scheduler" / "scheduler_config.json");
  model.network = load_diffusers_unet(folder.string());
  model.network->to(weights);
  model.network->to(device);
  model.card.channels = model.network->config().in_channels;
  model.card.data = "diffusers";
  model.hash = hash_when_asked(folder / "unet" / "diffusion_pytorch_model.safetensors");
  return model;
}

}  // namespace

DiffusionModel load_diffusion_model(const fs::path& folder, DType weights, Device device) {
  DiffusionModel model;
  if (fs::exists(folder / "model_index.json") || fs::exists(folder / "scheduler" / "scheduler_config.json")) {
    model = load_diffusers(folder, weights, device);
  } else {
    ModelFolder read = load_model_folder(folder.string(), weights, device);
    const std::string file = (folder / "config.json").string();
    model.network = std::move(read.network);
    model.card = ModelCard::from_json(Json::parse(read.config), file);
    model.hash = hash_when_asked(folder / "weights.safetensors");
  }
  const UNetConfig& config = model.network->config();
  const Variance variance = variance_from_name(model.card.sampling.variance);
  const bool learned = variance == Variance::learned || variance == Variance::learned_range;
  if (config.in_channels != model.card.channels ||
      config.out_channels != (learned ? 2 : 1) * model.card.channels)
    fail_data(folder.string(), "the network takes ", config.in_channels, " and gives ", config.out_channels,
              " channels, the data has ", model.card.channels, learned ? " and the variance is learned" : "");
  if (model.card.channels != 1 && model.card.channels != 3)
    fail_data(folder.string(), "images have 1 or 3 channels, the model ", model.card.channels);
  if (weights != DType::f32) model.network->set_activation_dtype(weights);
  model.network->evaluate();
  model.network->freeze();
  return model;
}

void save_diffusion_model(const fs::path& folder, const UNet& network, const ModelCard& card, DType dtype) {
  const Json others{{"diffusion", card.diffusion_json()}, {"data", card.data_json()}};
  save_model_folder(folder.string(), network, others.dump(), dtype);
}

UNetConfig config_of_preset_or_file(const std::string& text) {
  if (text.ends_with(".json")) {
    const Json json = read_json(text);
    return unet_config_from_json((json.contains("network") ? json["network"] : json).dump(), text);
  }
  const std::vector<std::string> presets = unet_presets();
  for (const std::string& preset : presets)
    if (preset == text) return unet_preset(text);
  std::string all;
  for (const std::string& preset : presets) all += (all.empty() ? "" : ", ") + preset;
  fail("--model", "unknown preset '", text, "'", did_you_mean(text, presets), " (presets: ", all,
       "; or a file CONFIG.json)");
}

}  // namespace tw
