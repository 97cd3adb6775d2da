// Formulas of the activations, for one value or one vector of values V (float, double, Vec<T>).
#pragma once

#include "kernels/math/host_device.h"

namespace tw::kernels::math {

// sigmoid(x) = 1 / (1 + e^-x)
template <class V>
TW_HD V sigmoid(V x) {
  return V(1) / (V(1) + exp(-x));
}

// silu(x) = x sigmoid(x);  silu'(x) = s (1 + x (1 - s)) with s = sigmoid(x)
template <class V>
TW_HD V silu(V x) {
  return x * sigmoid(x);
}
template <class V>
TW_HD V silu_derivative(V x) {
  const V s = sigmoid(x);
  return s * (V(1) + x * (V(1) - s));
}

}  // namespace tw::kernels::math
