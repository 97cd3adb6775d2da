// 3-D convolution, channels last: x (n, d, h, w, ci), w (kd, kh, kw, ci, co) -> (n, do, ho, wo, co), the
// formula of conv2d.h with one more axis.
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// Extents in the order depth, height, width; pads are zeros before and after.
struct Conv3dParams {
  int64_t stride[3] = {1, 1, 1};
  int64_t pad_before[3] = {0, 0, 0}, pad_after[3] = {0, 0, 0};
  int64_t dilation[3] = {1, 1, 1};

  // Keeps the extents: for an odd kernel of k x k x k, stride 1.
  static Conv3dParams same(int64_t k) {
    return {.pad_before = {k / 2, k / 2, k / 2}, .pad_after = {k / 2, k / 2, k / 2}};
  }
};

// Throws Error naming "conv3d" when ranks, channels or parameters do not fit.
Shape conv3d_output_shape(const Conv3dParams& params, const Shape& x, const Shape& w);

int64_t conv3d_forward_workspace_bytes(const Conv3dParams& params, const Shape& x, const Shape& w);
int64_t conv3d_data_gradient_workspace_bytes(const Conv3dParams& params, const Shape& x, const Shape& w);
int64_t conv3d_weight_gradient_workspace_bytes(const Conv3dParams& params, const Shape& x, const Shape& w);

// Contiguous, on one device (on CUDA without a workspace); dtypes as in conv2d.h: x, y f32, bf16 or f64, w
// and bias (co) f32 or bf16 (f64 with f64), dw f32 (f64 with f64). The bias may be absent. The bias gradient
// is the sum of dy (pixel_sum.h).
void conv3d_forward(const Conv3dParams& params, const View& x, const View& w, const View& bias, const View& y,
                    const View& workspace);
void conv3d_data_gradient(const Conv3dParams& params, const View& dy, const View& w, const View& dx,
                          const View& workspace);
void conv3d_weight_gradient(const Conv3dParams& params, const View& x, const View& dy, const View& dw,
                            const View& workspace);

}  // namespace tw::kernels
