#include "nn/model_folder.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "nn/named_tensors.h"
#include "nn/unet/config_json.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/safetensors.h"
#include "tensor/transfer.h"

namespace tw {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* format = "tweedie-1";

Json parse(const std::string& text, const std::string& where) {
  try {
    Json json = Json::parse(text);
    if (!json.is_object()) fail_data(where, "expected a JSON object, found ", json.type_name());
    return json;
  } catch (const Json::exception& error) {
    fail_data(where, "is not JSON: ", error.what());
  }
}

// As load_state, but tensor by tensor: never more in memory than the network and one tensor of the file.
void load_weights(UNet& network, const SafeTensorsFile& file, const std::string& where, DType weights,
                  Device device) {
  const AllocatorScope scope(weight_allocator());
  std::set<std::string> known;
  for (Parameter& parameter : network.parameters()) {
    std::map<std::string, Tensor> found;
    if (file.contains(parameter.name) && SafeTensorsFile::can_load(file.entry(parameter.name)))
      found[parameter.name] = file.load(parameter.name);
    const Tensor& value = named_tensor(where, found, parameter.name, parameter.value.shape());
    parameter.value.mutable_value() = to_device(value.to(weights), device);
    known.insert(parameter.name);
  }
  for (const SafeTensorsEntry& entry : file.entries())
    if (SafeTensorsFile::can_load(entry) && !known.contains(entry.name))
      fail_data(where, "tensor '", entry.name, "' ", file.load(entry.name).shape(),
                " belongs to no layer of the network");
}

}  // namespace

std::map<std::string, Tensor> state_of(const Module& module) {
  std::map<std::string, Tensor> state;
  for (const Parameter& parameter : module.parameters()) state[parameter.name] = parameter.value.value();
  for (const Buffer& buffer : module.buffers()) state[buffer.name] = *buffer.value;
  return state;
}

void load_state(Module& module, const std::map<std::string, Tensor>& tensors, const std::string& where) {
  const std::map<std::string, Tensor> present = state_of(module);
  for (const auto& [name, tensor] : present) named_tensor(where, tensors, name, tensor.shape());
  for (const auto& [name, tensor] : tensors)
    if (!present.contains(name))
      fail_data(where, "tensor '", name, "' ", tensor.shape(), " belongs to no layer of the network");
  const auto like = [](const Tensor& tensor, const Tensor& present) {
    return to_device(tensor.to(present.dtype()).contiguous(), present.device());
  };
  for (Parameter& parameter : module.parameters())
    parameter.value.mutable_value() = like(tensors.at(parameter.name), parameter.value.value());
  for (const Buffer& buffer : module.buffers()) *buffer.value = like(tensors.at(buffer.name), *buffer.value);
}

ModelFolder load_model_folder(const std::string& folder, DType weights, Device device) {
  const std::string config_file = (fs::path(folder) / "config.json").string();
  const std::string weights_file = (fs::path(folder) / "weights.safetensors").string();
  std::ifstream in(config_file, std::ios::binary);
  if (!in) fail_data(config_file, "cannot be read: this is not a model folder");
  std::ostringstream text;
  text << in.rdbuf();

  ModelFolder model{.network = nullptr, .config = text.str()};
  const Json config = parse(model.config, config_file);
  if (config.value("format", Json(format)) != format)
    fail_data(config_file, "has format ", config["format"].dump(), ", expected \"", format, "\"");
  if (!config.contains("network")) fail_data(config_file, "has no \"network\"");
  model.network =
      std::make_unique<UNet>(unet_config_from_json(config["network"].dump(), config_file), std::nullopt);
  load_weights(*model.network, SafeTensorsFile(weights_file), weights_file, weights, device);
  return model;
}

void save_model_folder(const std::string& folder, const UNet& network, const std::string& config,
                       DType weights) {
  check(is_floating(weights) && weights != DType::f64, "save_model_folder",
        "weights can be f32, bf16 or f16, not ", dtype_name(weights));
  Json json{{"format", format}, {"network", Json::parse(to_json(network.config()))}};
  const Json others = parse(config, "config");
  for (const auto& [name, value] : others.items())
    if (name != "format" && name != "network") json[name] = value;

  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail_data(folder, "the folder cannot be made: ", error.message());
  std::map<std::string, Tensor> state = state_of(network);
  for (auto& [name, tensor] : state) tensor = tensor.to(weights);
  save_safetensors((fs::path(folder) / "weights.safetensors").string(), state);
  write_file_atomically((fs::path(folder) / "config.json").string(), json.dump(2) + "\n");
}

}  // namespace tw
