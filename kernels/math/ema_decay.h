// How the decay of an average of the weights approaches its limit.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/math/host_device.h"

namespace tw::kernels {

struct EmaDecay {
  enum class Warmup : uint8_t { none, ratio, power };
  double decay = 0.9999;
  // How the decay approaches its limit after n updates: not at all; min(decay, (1 + n) / (10 + n)) as
  // score_sde does; or min(decay, 1 - (1 + n)^-power) as diffusers' trainer does.
  Warmup warmup = Warmup::ratio;
  double power = 0.75;

  TW_HD double at(int64_t updates) const {
    const double n = static_cast<double>(updates);
    if (warmup == Warmup::none) return decay;
    const double now = warmup == Warmup::ratio ? (1 + n) / (10 + n) : 1 - std::pow(1 + n, -power);
    return now < decay ? now : decay;
  }
};

}  // namespace tw::kernels
