// One step of Adam (Kingma & Ba 2015, algorithm 1) or AdamW (Loshchilov & Hutter 2019, algorithm 2) on one
// parameter, in one pass over memory, with the exponential moving average of the weights:
//   g = grad_scale * gradient                      (+ weight_decay * p unless decoupled)
//   p = p (1 - lr weight_decay)                    only if decoupled
//   m = m + (1 - beta1) (g - m),  v = beta2 v + (1 - beta2) g^2
//   p = p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
//   ema = ema + (1 - ema_decay) (p - ema)
// The same arithmetic as torch.optim.Adam and AdamW.
#pragma once

#include <span>

#include "tensor/view.h"

namespace tw::kernels {

struct AdamParams {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;  // in [0, 1)
  double eps = 1e-8;                  // positive
  double weight_decay = 0;
  bool decoupled = true;  // AdamW; false: Adam with L2 in the gradient
  int64_t step = 1;       // t, from 1
  double grad_scale = 1;  // clip factor of the global norm, or 1 / loss scale
  double ema_decay = -1;  // in [0, 1], used where there is an ema
};

// Throws Error when a number is out of its range.
void check_adam(const AdamParams& params);

// All of one shape, contiguous. parameter, m, v and ema are f32 (or all f64); gradient is f32 or bf16, on
// CUDA also f16 (f64).
struct AdamTensors {
  View parameter, gradient, m, v;
  View ema;        // may be absent
  View bf16_copy;  // may be absent: the new parameter rounded to bf16, for mixed-precision forward passes
};

// Every parameter of a network; on CUDA in a few launches. Throws Error when shapes, dtypes or
// hyper-parameters are out of range, or the tensors on two devices; then nothing has been changed.
void adam_step(const AdamParams& params, std::span<const AdamTensors> tensors);
inline void adam_step(const AdamParams& params, const AdamTensors& tensors) {
  adam_step(params, std::span(&tensors, 1));
}

}  // namespace tw::kernels
