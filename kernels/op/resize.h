// Resampling along one axis with a table of weights: y[o] = sum over t of weight[o, t] x[first[o] + t].
//
// Resizing an image is two such passes, and the gradient two passes with the transposed tables. Tables follow
// torch.nn.functional.interpolate(align_corners=False): output o looks at position (o + 1/2) in/out - 1/2.
// bilinear: the triangle 1 - |d|. bicubic: Keys 1981 (Cubic Convolution Interpolation, eq. 15 with free a),
// a = -0.75, edges repeated. antialias, only where it shrinks: the kernel stretched by in/out and cut off at
// the edges with its weights scaled to 1 again, a = -0.5 (as PIL and torch do).
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

enum class ResizeMode { nearest, bilinear, bicubic };

struct ResizeAxis {
  ResizeMode mode = ResizeMode::bilinear;
  int64_t in = 1, out = 1;  // extents, at least 1
  bool antialias = false;
};

// The most inputs that one output depends on: the width of the table.
int64_t resize_taps(const ResizeAxis& axis);
// first (out) i32, weight (out, taps) f64. Unused weights are 0, and first + taps may reach beyond the input
// there: count (out) i32 says how many are used.
void resize_table(const ResizeAxis& axis, const View& first, const View& count, const View& weight);

// The table of the transposed map, from an axis with a table as above: first, count (in), weight (in, taps).
int64_t resize_transposed_taps(int64_t in, const View& first, const View& count);
void resize_transpose_table(const View& first, const View& count, const View& weight, const View& first_out,
                            const View& count_out, const View& weight_out);

// x (outer, in, inner), y (outer, out, inner): f32, f64 or bf16 (on CUDA f16) each (f64 only with f64),
// contiguous, on one device with the table, which on CUDA is not checked.
void resize_axis(const View& x, const View& first, const View& count, const View& weight, const View& y);

}  // namespace tw::kernels
