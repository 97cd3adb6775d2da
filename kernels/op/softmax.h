// Softmax over the last dimension: y_j = e^(x_j - max x) / sum_k e^(x_k - max x).
// Backward from the result: dx = y (dy - sum_k y_k dy_k).
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// x, y (..., c): the same shape and dtype (f32, f64 or bf16), contiguous. y may be x.
void softmax_forward(const View& x, const View& y);

// y is what forward returned; dx may be dy. All the same shape and dtype, contiguous.
void softmax_backward(const View& y, const View& dy, const View& dx);

}  // namespace tw::kernels
