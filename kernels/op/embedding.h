// Table look-up: y[i] = table[index[i]]; backward adds dy[i] to dtable[index[i]] in the order of i.
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// table (v, c), f32, f64 or bf16; index (...), i32 or i64, each in [0, v); y (..., c) like the table. All
// contiguous, on one device. Throws Error naming the first index out of range; on CUDA, where the host cannot
// see it, its rows are NaN and it has no gradient.
void embedding_forward(const View& table, const View& index, const View& y);

// dy (..., c); dtable (v, c), f32 (f64 for f64), is overwritten. The sum's order does not depend on the
// thread count.
void embedding_backward(const View& index, const View& dy, const View& dtable);

}  // namespace tw::kernels
