// y = x w + bias + residual: a convolution with one tap.
#pragma once

#include "autograd/ops/conv2d.h"

namespace tw {

// x (..., in), w (in, out), bias (out), residual (..., out) -> (..., out); bias and residual may be
// undefined. Saves and caches as conv2d does. Throws Error naming "linear".
Var linear(const Var& x, const Var& w, const Var& bias = {}, const Var& residual = {},
           PackedWeights* packed = nullptr);

}  // namespace tw
