// Padding of images: y = x with rows and columns added around it.
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// reflect: x mirrored without repeating the edge (needs a pad smaller than the extent); replicate: the edge.
enum class PadMode { zero, reflect, replicate };

struct Pad2dParams {
  int64_t top = 0, bottom = 0, left = 0, right = 0;  // not negative
  PadMode mode = PadMode::zero;
};

// x (n, h, w, c), y (n, top + h + bottom, left + w + right, c): f32, f64 or bf16, contiguous.
void pad2d_forward(const Pad2dParams& params, const View& x, const View& y);

// dx = the sum of dy over the copies of each pixel, in a fixed order (rounded after each addition).
void pad2d_backward(const Pad2dParams& params, const View& dy, const View& dx);

}  // namespace tw::kernels
