// Sum of squares (for the norm of a gradient), in an order that does not depend on the thread count; and
// whether every element is finite.
#pragma once

#include <span>

#include "tensor/view.h"

namespace tw::kernels {

// Bytes of scratch for `numel` elements: a partial sum for each chunk.
int64_t square_sum_workspace_bytes(int64_t numel);

// sum x^2 over all elements; x contiguous, f32, f64 or bf16. Summed in f32 within short runs (f64 for f64),
// then in f64.
double square_sum(const View& x, const View& workspace);

// The sum of those of several tensors on one device, in order; the workspace serves the largest. On CUDA one
// wait for the host instead of one a tensor, f16 too, and no workspace.
double square_sum(std::span<const View> tensors, const View& workspace);

// Whether no element is infinite or NaN. x as above.
bool all_finite(const View& x);

}  // namespace tw::kernels
