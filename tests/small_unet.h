// A U-Net that is small enough for the emulated device, with one of every kind of block: 8 x 8, attention.
#pragma once

#include <memory>

#include "nn/unet/unet.h"
#include "tests/random_tensor.h"

namespace tw {

inline std::unique_ptr<UNet> small_unet(int64_t out_channels = 3) {
  auto network = std::make_unique<UNet>(UNetConfig{.out_channels = out_channels,
                                                   .resolution = 8,
                                                   .base = 8,
                                                   .multipliers = {1, 2},
                                                   .blocks = 1,
                                                   .attention_resolutions = {4},
                                                   .groups = 4});
  unsigned seed = 0;
  for (Parameter& p : network->parameters())
    p.value.mutable_value().copy_from(random_tensor(p.value.shape(), DType::f32, ++seed, 0.2));
  return network;
}

}  // namespace tw
