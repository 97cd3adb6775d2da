// 3-D convolution: y = conv3d(x, w) + bias.
#pragma once

#include "autograd/var.h"
#include "kernels/op/conv3d.h"

namespace tw {

// x (n, d, h, w, ci), w (kd, kh, kw, ci, co) -> (n, do, ho, wo, co); bias (co) or undefined. See
// kernels/op/conv3d.h. Saves x only if w wants a gradient and w only if x does. The gradients of w and of the
// bias are f32 (f64 with f64). Throws Error naming "conv3d".
Var conv3d(const Var& x, const Var& w, const Var& bias = {}, const kernels::Conv3dParams& params = {});

}  // namespace tw
