// A model is a folder: config.json, and weights.safetensors with the parameters under their names in the
// module. Only the part "network" of config.json is read here; the others belong to those who wrote them
// (docs/model_folder.md).
#pragma once

#include <map>
#include <memory>
#include <string>

#include "nn/module.h"
#include "nn/unet/unet.h"

namespace tw {

// The parameters and buffers of a module by name; handles, not copies.
std::map<std::string, Tensor> state_of(const Module& module);

// Gives a module the values of `tensors`, cast to the dtype of each parameter. Throws Error{data} naming
// `where` and the tensor that is missing, of another shape (with both shapes), or unknown to the module; the
// module is unchanged then.
void load_state(Module& module, const std::map<std::string, Tensor>& tensors, const std::string& where);

struct ModelFolder {
  std::unique_ptr<UNet> network;
  std::string config;  // the whole of config.json
};

// `weights`: what the parameters become in memory, f32, bf16 or (on CUDA) f16, whatever the file holds;
// `device`: where that is.
ModelFolder load_model_folder(const std::string& folder, DType weights = DType::f32,
                              Device device = Device::cpu);

// `config`: a JSON object whose members are written beside "format" and "network". `weights`: f32, bf16 or
// f16. The folder is made if need be; config.json is replaced last, so that an interrupted save is seen as
// such.
void save_model_folder(const std::string& folder, const UNet& network, const std::string& config = "{}",
                       DType weights = DType::f32);

}  // namespace tw
