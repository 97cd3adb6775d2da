// UNetConfig as JSON: the "network" part of a model's config.json (docs/model_folder.md).
#pragma once

#include <string>

#include "nn/unet/config.h"

namespace tw {

std::string to_json(const UNetConfig& config);

// Absent fields take their defaults. Throws Error{data} naming `where` and the field that is unknown, of the
// wrong type or out of range.
UNetConfig unet_config_from_json(const std::string& text, const std::string& where);

// The same from the config.json of a diffusers UNet2DModel. Throws Error{data} naming a field whose value
// asks for what this U-Net does not have.
UNetConfig unet_config_from_diffusers(const std::string& text, const std::string& where);

}  // namespace tw
