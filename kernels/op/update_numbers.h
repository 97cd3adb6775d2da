// The numbers of Adam's step, worked out on the device that has the weights: a step can be queued, or
// repeated as a graph, before the host knows how the one before it ended.
//
//   scale = gradient_scale / loss scale
//   norm = scale sqrt(sum of the gradients' squares),  finite = norm and all losses are finite
//   if finite:  t = t + 1,  n = n + 1,  grad_scale = scale min(1, clip / (norm + 1e-6)),
//               coefficients of Adam's step t with that scale and the decay after n - 1 updates
//   the next loss scale (kernels/math/loss_scale.h), which a loss that is not finite leaves as it is
#pragma once

#include <span>

#include "kernels/math/adam.h"
#include "kernels/math/ema_decay.h"
#include "kernels/math/loss_scale.h"

namespace tw::kernels {

// In the device's memory, as `sizeof(UpdateNumbers)` of u8.
struct UpdateNumbers {
  double learning_rate = 0, gradient_scale = 1;  // written before a step
  int64_t steps = 0;                             // t, those that were not finite are not counted
  LossScale loss_scale{};                        // of the next step, where the loss is scaled
  double square_sum = 0;                         // what the rest is left by a step
  double gradient_norm = 0;                      // before clipping
  int64_t finite = 1;                            // 0: adam_step changes nothing
  int64_t overflowed = 0;                        // 1: because scaled gradients were not finite
  math::AdamCoefficients<float> f32{};
  math::AdamCoefficients<double> f64{};
};

struct UpdateRule {
  AdamParams adam{};     // without lr, step, grad_scale and ema_decay, which follow from the numbers
  double clip_norm = 0;  // 0: never
  EmaDecay ema{};
  LossScaleRule loss_scale{};
};

// Works out `numbers` for a step with these gradients. losses: f32 or f64, any number or absent;
// ema_updates: n, (1) i64, or absent without averages; loss_scale: one f32, which the loss was multiplied by
// and which becomes the next step's, or absent. On CUDA only; waits for nothing.
void update_numbers(const UpdateRule& rule, std::span<const View> gradients, const View& losses,
                    const View& numbers, const View& ema_updates, const View& loss_scale = {});

// Adam's step (adam.h) with those numbers; nothing where they say that the step is not finite.
void adam_step(const View& numbers, std::span<const AdamTensors> tensors);

}  // namespace tw::kernels
