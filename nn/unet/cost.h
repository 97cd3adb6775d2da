// How much arithmetic and how many parameters a U-Net of a config has, without building it.
#pragma once

#include <cstdint>

#include "nn/unet/config.h"

namespace tw {

struct UNetCost {
  int64_t parameters = 0;
  // Multiply-adds of one evaluation of one image of the config's resolution; convolutions and linear layers
  // (the latter for the pixels only: what depends on time alone is done once a schedule) and the two products
  // of attention. A training step is about three times that.
  int64_t multiply_adds = 0;
};

UNetCost unet_cost(const UNetConfig& config);

}  // namespace tw
