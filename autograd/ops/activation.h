// y = f(x) for the activations of kernels/op/activation.h. Any shape; f32, f64 or bf16. Saves x when x wants
// a gradient.
#pragma once

#include "autograd/var.h"
#include "kernels/op/activation.h"

namespace tw {

Var activation(const Var& x, const kernels::ActivationParams& params);
inline Var silu(const Var& x) { return activation(x, {.kind = kernels::Activation::silu}); }

}  // namespace tw
