// Sums over any set of dimensions: y = scale * sum of x, in an order that depends on the shapes only.
#pragma once

#include <cstddef>

#include "tensor/view.h"

namespace tw::kernels {

// x: contiguous, f32, f64 or bf16 (on CUDA f16, and no workspace). y: contiguous, x's rank, with extent 1 in
// the summed dimensions and x's extent in the others; x's dtype, or f32 for a bf16 x. Sums of bf16 are taken
// in f32. An output's bits depend neither on the thread count nor on the extents of kept dimensions.
void sum(const View& x, double scale, const View& y, void* workspace);

// Bytes that sum needs at `workspace` (may be 0), aligned to 8.
size_t sum_workspace_bytes(const View& x, const Shape& y);

}  // namespace tw::kernels
