// Padding of (n, h, w, c). f32, f64 or bf16; nothing is saved.
#pragma once

#include "autograd/var.h"
#include "kernels/op/pad2d.h"

namespace tw {

// (n, top + h + bottom, left + w + right, c). Throws for negative pads, and when a reflection reaches beyond
// the image.
Var pad2d(const Var& x, const kernels::Pad2dParams& params);
inline Var pad2d(const Var& x, int64_t top, int64_t bottom, int64_t left, int64_t right,
                 kernels::PadMode mode = kernels::PadMode::zero) {
  return pad2d(x, {.top = top, .bottom = bottom, .left = left, .right = right, .mode = mode});
}

}  // namespace tw
