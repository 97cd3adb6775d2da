// Activation functions, elementwise: y = f(x), and dx = dy f'(x).
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

enum class Activation { silu, relu, leaky_relu, gelu, gelu_tanh, tanh, sigmoid, softplus };

struct ActivationParams {
  Activation kind = Activation::silu;
  double negative_slope = 0.01;  // leaky_relu only
};

// x, y: the same shape and dtype (f32, f64 or bf16), contiguous. y may be x.
// Throws Error naming the op when they differ.
void activation_forward(const ActivationParams& params, const View& x, const View& y);

// dx = dy f'(x). All the same shape and dtype, contiguous. dx may be dy or x.
void activation_backward(const ActivationParams& params, const View& x, const View& dy, const View& dx);

}  // namespace tw::kernels
