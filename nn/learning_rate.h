// The learning rate of a step: linear warm-up, then constant or a half cosine down to zero.
#pragma once

#include <cstdint>

namespace tw {

struct LearningRate {
  enum class Decay : uint8_t { constant, cosine };
  double base = 2e-4;
  int64_t warmup = 0;  // steps; step k < warmup gets base (k + 1) / warmup
  Decay decay = Decay::constant;
  int64_t total = 0;  // cosine: the step at which zero is reached

  double at(int64_t step) const;  // step counts from 0
};

}  // namespace tw
