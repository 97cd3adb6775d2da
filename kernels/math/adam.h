// What Adam's step needs of its settings and its number, prepared in f64 and rounded once.
#pragma once

#include "kernels/math/host_device.h"
#include "kernels/op/adam.h"

namespace tw::kernels::math {

// base^exponent by squaring: products alone, so that host and device have the same bits.
TW_HD double power(double base, int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent /= 2, base *= base)
    if (exponent % 2) result *= base;
  return result;
}

// R: of the parameters.
template <class R>
struct AdamCoefficients {
  R grad_scale, l2, decay, beta2, one_minus_beta1, one_minus_beta2, eps, step_size, root_correction,
      ema_weight;
};

template <class R>
TW_HD AdamCoefficients<R> adam_coefficients(const AdamParams& p) {
  return {static_cast<R>(p.grad_scale),
          static_cast<R>(p.decoupled ? 0 : p.weight_decay),
          static_cast<R>(p.decoupled ? 1 - p.lr * p.weight_decay : 1),
          static_cast<R>(p.beta2),
          static_cast<R>(1 - p.beta1),
          static_cast<R>(1 - p.beta2),
          static_cast<R>(p.eps),
          static_cast<R>(p.lr / (1 - power(p.beta1, p.step))),
          static_cast<R>(1 / __builtin_sqrt(1 - power(p.beta2, p.step))),
          static_cast<R>(1 - p.ema_decay)};
}

}  // namespace tw::kernels::math
