// Squared error of each sample: y[i] = mean over the sample of (a - b)^2.
#pragma once

#include <cstddef>

#include "tensor/view.h"

namespace tw::kernels {

// a, b (n, ...): the same shape and dtype (f32, f64 or bf16), contiguous, rank at least 1. y (n): f64 for
// f64, else f32. workspace: mse_workspace_bytes(a), aligned to 8. A sample's bits do not depend on n.
// On CUDA f16 too, and no workspace.
void mse_forward(const View& a, const View& b, const View& y, void* workspace);
size_t mse_workspace_bytes(const View& a);

// da = dy[i] 2 (a - b) / (elements of a sample); the gradient of b is its negative. da: like a.
void mse_backward(const View& a, const View& b, const View& dy, const View& da);

}  // namespace tw::kernels
