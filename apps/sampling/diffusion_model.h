// A model folder: config.json ("network", "diffusion", "data") and weights.safetensors. docs/model_folder.md
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "apps/sampling/model_card.h"
#include "nn/unet/unet.h"

namespace tw {

using NamedTensors = std::map<std::string, Tensor>;

struct DiffusionModel {
  std::unique_ptr<UNet> network;  // evaluating, frozen
  ModelCard card;
  std::string hash;  // of the weights file; PNGs name it
};

// Reads a model folder, or a diffusers folder (model_index.json, unet/, scheduler/). Throws Error{data}
// naming the file and what is missing, malformed, or does not fit.
DiffusionModel load_diffusion_model(const std::filesystem::path& folder);

// dtype of the weights in the file. Written whole or not at all.
void save_diffusion_model(const std::filesystem::path& folder, const UNet& network, const ModelCard& card,
                          DType dtype);

// A preset's name or a JSON file with a network config (or a whole model config).
UNetConfig config_of_preset_or_file(const std::string& text);

// Parameters by name, and back. Throw Error{data} naming `from` when names or shapes differ.
NamedTensors named_parameters(const Module& network);
void load_parameters(Module& network, const NamedTensors& tensors, const std::string& from);

std::string hash_of_file(const std::filesystem::path& file);  // 16 hexadecimal digits, FNV-1a

}  // namespace tw
