// Weights of a diffusers UNet2DModel as parameters of a UNet. The names are the same; what differs is
//   convolution (out, in, kh, kw) -> (kh, kw, in, out)      linear (out, in) -> (in, out)
//   to_q, to_k, to_v -> to_qkv, side by side                 to_out.0 -> to_out
// and the names of attention in files of 2022 (query, key, value, proj_attn).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nn/unet/unet.h"

namespace tw {

// Gives the tensor of a name in diffusers' layout; asked once for each, by several threads at a time, and
// kept no longer than its turn lasts.
using TensorLookup = std::function<Tensor(const std::string& name)>;

// `names` are all that the lookup knows. Throws Error{data} naming `where` and a tensor that is missing, left
// over or of the wrong shape (in diffusers' layout).
void load_diffusers_parameters(UNet& net, const std::vector<std::string>& names,
                               const TensorLookup& tensor_of, const std::string& where);

// The other direction: UNet2DModel's names and layouts, f32.
std::map<std::string, Tensor> diffusers_tensors(const UNet& net);

// Reads FOLDER/config.json and FOLDER/diffusion_pytorch_model.safetensors, or the same in FOLDER/unet.
std::unique_ptr<UNet> load_diffusers_unet(const std::string& folder);

}  // namespace tw
