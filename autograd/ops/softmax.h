// Softmax over the last dimension (kernels/op/softmax.h). Saves its result.
#pragma once

#include "autograd/var.h"

namespace tw {

// x (..., c), f32, f64 or bf16 -> like x; each row sums to 1.
Var softmax(const Var& x);

}  // namespace tw
