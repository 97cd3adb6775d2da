// Matrix product, batched over leading extents.
#pragma once

#include "autograd/var.h"

namespace tw {

// op(a) op(b), op = transpose of the last two extents or nothing: (..., m, k) x (..., k, n) -> (..., m, n).
// The leading extents are equal, or b has rank 2. Saves a only if b wants a gradient and b only if a does.
// Throws Error naming "gemm".
Var matmul(const Var& a, const Var& b, bool transpose_a = false, bool transpose_b = false);

}  // namespace tw
