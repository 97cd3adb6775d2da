// y = f(x) for the activations of kernels/op/activation.h. Any shape; f32, f64 or bf16. Saves x when x wants
// a gradient.
#pragma once

#include "autograd/var.h"
#include "kernels/op/activation.h"

namespace tw {

Var activation(const Var& x, const kernels::ActivationParams& params);
inline Var silu(const Var& x) { return activation(x, {.kind = kernels::Activation::silu}); }
inline Var relu(const Var& x) { return activation(x, {.kind = kernels::Activation::relu}); }
inline Var leaky_relu(const Var& x, double negative_slope = 0.01) {
  return activation(x, {.kind = kernels::Activation::leaky_relu, .negative_slope = negative_slope});
}
inline Var gelu(const Var& x) { return activation(x, {.kind = kernels::Activation::gelu}); }
inline Var gelu_tanh(const Var& x) { return activation(x, {.kind = kernels::Activation::gelu_tanh}); }
inline Var tanh(const Var& x) { return activation(x, {.kind = kernels::Activation::tanh}); }
inline Var sigmoid(const Var& x) { return activation(x, {.kind = kernels::Activation::sigmoid}); }
inline Var softplus(const Var& x) { return activation(x, {.kind = kernels::Activation::softplus}); }

}  // namespace tw
