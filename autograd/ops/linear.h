// y = x w + bias (+ residual): a convolution with one tap.
#pragma once

#include "autograd/ops/conv2d.h"

namespace tw {

// x (..., in), w (in, out), bias (out) or undefined, residual (..., out) or undefined -> (..., out). Saves as
// conv2d does.
Var linear(const Var& x, const Var& w, const Var& bias, const Var& residual = {},
           PackedWeights* packed = nullptr);

}  // namespace tw
