#include "nn/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tw {

double LearningRate::at(int64_t step) const {
  if (step < warmup) return base * static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (decay == Decay::constant || total <= warmup) return base;
  const double progress =
      static_cast<double>(std::min(step, total) - warmup) / static_cast<double>(total - warmup);
  return base * 0.5 * (1 + std::cos(std::numbers::pi * progress));
}

}  // namespace tw
