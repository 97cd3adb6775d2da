// Resizing of (n, h, w, c) images as torch.nn.functional.interpolate(align_corners=False) does it; the
// formulas stand in kernels/op/resize.h. f32, f64 or bf16; only the tables of weights are saved.
#pragma once

#include "autograd/var.h"
#include "kernels/op/resize.h"

namespace tw {

// (n, ho, wo, c); ho, wo at least 1. antialias: widen the kernel where an axis shrinks (bilinear and
// bicubic).
Var resize2d(const Var& x, int64_t ho, int64_t wo, kernels::ResizeMode mode, bool antialias = false);

}  // namespace tw
