// Average pooling and nearest doubling of (n, h, w, c): each is, up to a factor, the adjoint of the other.
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// y[i, j] = mean of x over the k x k window at (k i, k j); x (n, h, w, c), y (n, h / k, w / k, c). Rows and
// columns that fill no window are left out. f32, f64 or bf16 (summed in f32), contiguous.
void avg_pool2d_forward(int64_t k, const View& x, const View& y);
// dx = dy / k^2 spread over the windows, 0 outside of them.
void avg_pool2d_backward(int64_t k, const View& dy, const View& dx);

// y[i, j] = x[i / 2, j / 2]; x (n, h, w, c), y (n, 2 h, 2 w, c).
void upsample_nearest2x_forward(const View& x, const View& y);
// dx[i, j] = the sum of dy over the 2 x 2 window at (2 i, 2 j).
void upsample_nearest2x_backward(const View& dy, const View& dx);

}  // namespace tw::kernels
