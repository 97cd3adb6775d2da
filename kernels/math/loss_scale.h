// Dynamic loss scaling (Micikevicius et al. 2018, section 3.2). f16 has no numbers below 6e-8, where many
// gradients lie: the loss is multiplied by a scale before the backward pass and the gradients divided by it
// after. The scale is halved, and the step left out, where a gradient has overflowed, and doubled after
// `interval` good steps.
#pragma once

#include <cstdint>

#include "kernels/math/host_device.h"

namespace tw::kernels {

struct LossScaleRule {
  double least = 1, most = 16777216;  // 2^24
  int64_t interval = 2000;
};

struct LossScale {
  double scale = 65536;
  int64_t good_steps = 0;  // since the scale changed

  TW_HD void after_step(const LossScaleRule& rule, bool finite) {
    if (!finite) {
      scale = scale / 2 > rule.least ? scale / 2 : rule.least;
      good_steps = 0;
    } else if (++good_steps >= rule.interval) {
      scale = scale * 2 < rule.most ? scale * 2 : rule.most;
      good_steps = 0;
    }
  }
};

}  // namespace tw::kernels
