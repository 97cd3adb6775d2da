// y += x, elementwise.
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// x, y: the same shape and dtype (f32, f64 or bf16), contiguous.
void accumulate(const View& x, const View& y);

}  // namespace tw::kernels
