// Formulas of the activations, for one value or one vector of values V (float, double, Vec<T>).
#pragma once

#include "kernels/math/scalar.h"

namespace tw::kernels::math {

// sigmoid(x) = 1 / (1 + e^-x);  sigmoid'(x) = s (1 - s)
template <class V>
TW_HD V sigmoid(V x) {
  return reciprocal(V(1) + exp(-x));
}
template <class V>
TW_HD V sigmoid_derivative(V x) {
  const V s = sigmoid(x);
  return s * (V(1) - s);
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

// relu(x) = max(x, 0), with derivative 0 at 0
template <class V>
TW_HD V relu(V x) {
  return max(x, V(0));
}
template <class V>
TW_HD V relu_derivative(V x) {
  return select(x > V(0), V(1), V(0));
}

// leaky_relu(x) = x for x > 0, else slope x
template <class V>
TW_HD V leaky_relu(V x, V slope) {
  return select(x > V(0), x, x * slope);
}
template <class V>
TW_HD V leaky_relu_derivative(V x, V slope) {
  return select(x > V(0), V(1), slope);
}

// tanh'(x) = 1 - tanh(x)^2
template <class V>
TW_HD V tanh_derivative(V x) {
  const V t = tanh(x);
  return V(1) - t * t;
}

// softplus(x) = log(1 + e^x) = max(x, 0) + log1p(e^-|x|);  softplus'(x) = sigmoid(x)
template <class V>
TW_HD V softplus(V x) {
  return max(x, V(0)) + log1p(exp(-abs(x)));
}

// gelu(x) = x Phi(x) with Phi the normal distribution function;  gelu'(x) = Phi(x) + x phi(x)
template <class V>
TW_HD V normal_cdf(V x) {
  return V(0.5f) * (V(1) + erf(x * V(0.70710678118654752440)));
}
template <class V>
TW_HD V gelu(V x) {
  return x * normal_cdf(x);
}
template <class V>
TW_HD V gelu_derivative(V x) {
  return normal_cdf(x) + x * V(0.39894228040143267794) * exp(V(-0.5f) * x * x);
}

// gelu_tanh(x) = x/2 (1 + tanh u), u = sqrt(2/pi) (x + 0.044715 x^3) (Hendrycks and Gimpel 2016)
template <class V>
TW_HD V gelu_tanh(V x) {
  const V u = V(0.79788456080286535588) * (x + V(0.044715) * x * x * x);
  return V(0.5f) * x * (V(1) + tanh(u));
}
template <class V>
TW_HD V gelu_tanh_derivative(V x) {
  const V u = V(0.79788456080286535588) * (x + V(0.044715) * x * x * x);
  const V du = V(0.79788456080286535588) * (V(1) + V(0.134145) * x * x);
  const V t = tanh(u);
  return V(0.5f) * (V(1) + t) + V(0.5f) * x * (V(1) - t * t) * du;
}

}  // namespace tw::kernels::math
