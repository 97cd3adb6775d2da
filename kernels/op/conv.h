// Convolution (cross-correlation, as in every deep-learning library) of any rank up to three, channels last:
//   y[n, o, co] = bias[co] + temb[n, co] + residual[n, o, co]
//               + sum over taps t and ci of  x[n, o * stride + t * dilation - pad, ci] * w[t, ci, co]
//
// conv2d.h, conv3d.h and conv_transpose2d.h are thin fronts; this is where shapes are checked and kernels are
// run. Forward, data gradient and weight gradient are three kernels. A transposed convolution is the data
// gradient of a convolution.
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// Extents in the order (depth, height, width); a 2-D convolution has depth 1.
struct ConvGeometry {
  int64_t n = 1;
  int64_t in[3] = {1, 1, 1};   // input extents
  int64_t out[3] = {1, 1, 1};  // output extents
  int64_t kernel[3] = {1, 1, 1};
  int64_t stride[3] = {1, 1, 1};
  int64_t pad[3] = {0, 0, 0};  // zeros before the first element; those after it follow from `out`
  int64_t dilation[3] = {1, 1, 1};
  int64_t ci = 0, co = 0;

  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t in_pixels() const { return in[0] * in[1] * in[2]; }
  int64_t out_pixels() const { return out[0] * out[1] * out[2]; }
  double flops() const {
    return 2.0 * static_cast<double>(n * out_pixels() * taps()) * static_cast<double>(ci * co);
  }
};

// Terms of the epilogue; each may be a null View. bias (co); temb (n, co); residual as y.
struct ConvEpilogue {
  View bias, temb, residual;
};

// Weights rearranged for one direction, so that frozen weights are rearranged once and not in every call.
enum class ConvDirection { forward, data_gradient };
size_t conv_packed_bytes(const ConvGeometry& g, ConvDirection direction, DType activation);
void conv_pack(const ConvGeometry& g, ConvDirection direction, const View& w,
               const View& packed);  // packed: u8 of that size

// Each takes its work space as a u8 view of at least the bytes that the function before it tells.
// Activations f32, f64 or bf16; weights and bias may be f32 or bf16 beside f32 or bf16 activations.
size_t conv_forward_workspace(const ConvGeometry& g, DType activation);
void conv_forward(const ConvGeometry& g, const View& x, const View& packed, const ConvEpilogue& terms,
                  const View& y, const View& workspace);

size_t conv_data_gradient_workspace(const ConvGeometry& g, DType activation);
void conv_data_gradient(const ConvGeometry& g, const View& dy, const View& packed, const ConvEpilogue& terms,
                        const View& dx, const View& workspace);

// dw (taps..., ci, co): f32, or f64 with f64 activations.
size_t conv_weight_gradient_workspace(const ConvGeometry& g, DType activation);
void conv_weight_gradient(const ConvGeometry& g, const View& x, const View& dy, const View& dw,
                          const View& workspace);

}  // namespace tw::kernels
