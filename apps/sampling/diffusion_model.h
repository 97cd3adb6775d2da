// A model folder: config.json ("network", "diffusion", "data") and weights.safetensors. docs/model_folder.md
#pragma once

#include <filesystem>
#include <future>
#include <memory>
#include <string>

#include "apps/sampling/model_card.h"
#include "nn/unet/unet.h"

namespace tw {

struct DiffusionModel {
  std::unique_ptr<UNet> network;  // evaluating, with frozen parameters
  ModelCard card;
  // Of the weights file as it was when the model was loaded, 16 hexadecimal digits computed when
  // first asked for; PNGs name it.
  std::shared_future<std::string> hash;
};

// Reads a model folder, or a diffusers folder (unet/, scheduler/). `weights`: f32, or bf16, which also makes
// the activations bf16; `device`: where they are. Throws Error{data} naming the file and what is missing,
// malformed, or does not fit.
DiffusionModel load_diffusion_model(const std::filesystem::path& folder, DType weights = DType::f32,
                                    Device device = Device::cpu);

// dtype of the weights in the file: f32, bf16 or f16.
void save_diffusion_model(const std::filesystem::path& folder, const UNet& network, const ModelCard& card,
                          DType dtype);

// A preset's name or a JSON file with a network config (or a whole model config).
UNetConfig config_of_preset_or_file(const std::string& text);

// A file's text; throws Error{data} when it cannot be read.
std::string read_text(const std::filesystem::path& file);
nlohmann::ordered_json read_json(const std::filesystem::path& file);

}  // namespace tw
