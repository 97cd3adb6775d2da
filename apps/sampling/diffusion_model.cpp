#include "apps/sampling/diffusion_model.h"

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/safetensors.h"

namespace tw {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

Json read_json(const fs::path& file) {
  std::ifstream in(file);
  if (!in) fail_data(file.string(), "cannot be read");
  try {
    return Json::parse(in);
  } catch (const Json::parse_error& error) {
    fail_data(file.string(), "not JSON: ", error.what());
  }
}

Json to_json(const UNetConfig& c) {
  return {{"in_channels", c.in_channels},
          {"out_channels", c.out_channels},
          {"base", c.base},
          {"multipliers", c.multipliers},
          {"blocks", c.blocks},
          {"attention_resolutions", c.attention_resolutions},
          {"resolution", c.resolution},
          {"dropout", c.dropout},
          {"classes", c.classes},
          {"middle_attention", c.middle_attention},
          {"asymmetric_downsample", c.asymmetric_downsample},
          {"frequency_shift", c.frequency_shift},
          {"flip_sin_to_cos", c.flip_sin_to_cos},
          {"head_channels", c.head_channels},
          {"groups", c.groups},
          {"eps", c.eps}};
}

UNetConfig unet_from_json(const Json& json, const std::string& file) {
  UNetConfig c;
  try {
    c.in_channels = json.value("in_channels", c.in_channels);
    c.out_channels = json.value("out_channels", c.out_channels);
    c.base = json.value("base", c.base);
    c.multipliers = json.value("multipliers", c.multipliers);
    c.blocks = json.value("blocks", c.blocks);
    c.attention_resolutions = json.value("attention_resolutions", c.attention_resolutions);
    c.resolution = json.value("resolution", c.resolution);
    c.dropout = json.value("dropout", c.dropout);
    c.classes = json.value("classes", c.classes);
    c.middle_attention = json.value("middle_attention", c.middle_attention);
    c.asymmetric_downsample = json.value("asymmetric_downsample", c.asymmetric_downsample);
    c.frequency_shift = json.value("frequency_shift", c.frequency_shift);
    c.flip_sin_to_cos = json.value("flip_sin_to_cos", c.flip_sin_to_cos);
    c.head_channels = json.value("head_channels", c.head_channels);
    c.groups = json.value("groups", c.groups);
    c.eps = json.value("eps", c.eps);
  } catch (const Json::exception& error) {
    fail_data(file, "malformed network config: ", error.what());
  }
  return c;
}

}  // namespace

DiffusionModel load_diffusion_model(const fs::path& folder) {
  const fs::path config_file = folder / "config.json", weights = folder / "weights.safetensors";
  const Json config = read_json(config_file);
  if (!config.contains("network")) fail_data(config_file.string(), "has no \"network\"");
  DiffusionModel model;
  model.card = ModelCard::from_json(config, config_file.string());
  model.network = std::make_unique<UNet>(unet_from_json(config["network"], config_file.string()), 0);
  load_parameters(*model.network, load_safetensors(weights.string()).tensors, weights.string());
  model.hash = hash_of_file(weights);
  model.network->evaluate();
  model.network->freeze();
  return model;
}

void save_diffusion_model(const fs::path& folder, const UNet& network, const ModelCard& card, DType dtype) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail_data(folder.string(), "the folder cannot be made: ", error.message());
  NamedTensors tensors = named_parameters(network);
  for (auto& [name, tensor] : tensors) tensor = tensor.to(dtype);
  save_safetensors((folder / "weights.safetensors").string(), tensors);
  const Json config{{"format", "tweedie-1"},
                    {"network", to_json(network.config())},
                    {"diffusion", card.diffusion_json()},
                    {"data", card.data_json()}};
  write_file_atomically((folder / "config.json").string(), config.dump(2) + "\n");
}

UNetConfig config_of_preset_or_file(const std::string& text) {
  if (text.ends_with(".json")) {
    const Json json = read_json(text);
    return unet_from_json(json.contains("network") ? json["network"] : json, text);
  }
  return unet_preset(text);
}

NamedTensors named_parameters(const Module& network) {
  NamedTensors tensors;
  for (const Parameter& parameter : network.parameters()) tensors[parameter.name] = parameter.value.value();
  return tensors;
}

void load_parameters(Module& network, const NamedTensors& tensors, const std::string& from) {
  size_t used = 0;
  for (Parameter& parameter : network.parameters()) {
    const auto found = tensors.find(parameter.name);
    if (found == tensors.end()) fail_data(from, "tensor '", parameter.name, "' is missing");
    if (found->second.shape() != parameter.value.shape())
      fail_data(from, "tensor '", parameter.name, "' is ", found->second.shape(), ", expected ",
                parameter.value.shape());
    parameter.value.mutable_value().copy_from(found->second);
    ++used;
  }
  if (used == tensors.size()) return;
  for (const auto& [name, tensor] : tensors) {
    const auto all = network.parameters();
    if (std::none_of(all.begin(), all.end(), [&](const Parameter& p) { return p.name == name; }))
      fail_data(from, "tensor '", name, "' ", tensor.shape(), " belongs to no layer of the network");
  }
}

std::string hash_of_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) fail_data(file.string(), "cannot be read");
  uint64_t hash = 0xcbf29ce484222325u;
  std::vector<char> block(1 << 16);
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0)
    for (std::streamsize i = 0; i < in.gcount(); ++i)
      hash = (hash ^ static_cast<unsigned char>(block[static_cast<size_t>(i)])) * 0x100000001b3u;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

}  // namespace tw
