// s(n, c) = sum over the pixels of x(n, ..., c): the gradient of what is added to every pixel of a sample.
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// x (n, ..., c) f32, bf16 or f64, contiguous; sum (n, c) f32 or bf16 (f64 with f64). Sums in f32 (f64),
// in chunks of 256 pixels.
void pixel_sum(const View& x, const View& sum);

}  // namespace tw::kernels
