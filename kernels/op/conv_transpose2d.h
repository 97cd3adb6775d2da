// Transposed 2-D convolution, the adjoint of conv2d with the roles of its input and output exchanged:
//   y(n, i sh - pt + a dh, j sw - pl + b dw, o) += sum_c x(n, i, j, c) w(a, b, c, o)
// x (n, h, w, ci), w (kh, kw, ci, co) -> (n, ho, wo, co) with
//   ho = (h - 1) stride_h - pad_top - pad_bottom + dilation_h (kh - 1) + 1 + output_pad_h.
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// Pads cut the result; output_pad adds rows below and columns to the right (fewer than the stride).
struct ConvTranspose2dParams {
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t output_pad_h = 0, output_pad_w = 0;
};

// Throws Error naming "conv_transpose2d" when ranks, channels or parameters do not fit.
Shape conv_transpose2d_output_shape(const ConvTranspose2dParams& params, const Shape& x, const Shape& w);

int64_t conv_transpose2d_forward_workspace_bytes(const ConvTranspose2dParams& params, const Shape& x,
                                                 const Shape& w);
int64_t conv_transpose2d_data_gradient_workspace_bytes(const ConvTranspose2dParams& params, const Shape& x,
                                                       const Shape& w);
int64_t conv_transpose2d_weight_gradient_workspace_bytes(const ConvTranspose2dParams& params, const Shape& x,
                                                         const Shape& w);

// Contiguous, on one device (on CUDA without a workspace); dtypes as in conv2d.h: x, y f32, bf16 or f64, w
// and bias (co) f32 or bf16 (f64 with f64), dw f32 (f64 with f64). The bias may be absent. The bias gradient
// is the sum of dy (pixel_sum.h).
void conv_transpose2d_forward(const ConvTranspose2dParams& params, const View& x, const View& w,
                              const View& bias, const View& y, const View& workspace);
void conv_transpose2d_data_gradient(const ConvTranspose2dParams& params, const View& dy, const View& w,
                                    const View& dx, const View& workspace);
void conv_transpose2d_weight_gradient(const ConvTranspose2dParams& params, const View& x, const View& dy,
                                      const View& dw, const View& workspace);

}  // namespace tw::kernels
