// Transposed 2-D convolution: y = conv_transpose2d(x, w) + bias.
#pragma once

#include "autograd/var.h"
#include "kernels/op/conv_transpose2d.h"

namespace tw {

// x (n, h, w, ci), w (kh, kw, ci, co) -> (n, ho, wo, co); bias (co) or undefined. See
// kernels/op/conv_transpose2d.h. Saves x only if w wants a gradient and w only if x does. The gradients of w
// and of the bias are f32 (f64 with f64). Throws Error naming "conv_transpose2d".
Var conv_transpose2d(const Var& x, const Var& w, const Var& bias = {},
                     const kernels::ConvTranspose2dParams& params = {});

}  // namespace tw
