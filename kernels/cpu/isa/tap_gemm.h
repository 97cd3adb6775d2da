// The matrix product behind convolution, transposed convolution, linear and matmul:
//   y(row, j) = sum_t sum_k  x(pixel(row, t), k) w(t, k, j)  + bias(j) + temb(sample, j) + residual(row, j)
// A row is a pixel of a grid; a tap t moves it to a pixel of the source (zero outside of it). One tap and no
// movement is an ordinary matrix product.
#pragma once

#include <cstdint>

#include "tensor/view.h"

namespace tw::kernels {

// One spatial axis: grid position g with tap j reads source position g * source_step + offset + j *
// offset_step and is written to out + g * out_step. Tap j is the kernel's tap tap_first + j * tap_step.
struct TapAxis {
  int64_t source = 1, grid = 1, output = 1;  // extents
  int64_t source_step = 1;
  int64_t taps = 1, tap_first = 0, tap_step = 1, kernel = 1;
  int64_t offset = 0, offset_step = 1;
  int64_t out = 0, out_step = 1;
};

// A part of the grid whose source fits in the cache: `slices` (sample, depth) planes x rows x columns. Either
// one row or whole rows, and either one slice or whole slices.
struct GridChunk {
  int64_t slice = 0, slices = 1, row = 0, rows = 1, column = 0, columns = 1;
};

struct TapGemm {
  TapAxis axes[3];  // depth, height, width; offset_step > 0 where there is more than one tap
  int64_t samples = 1;
  const void* source = nullptr;  // (samples, source extents, depth)
  DType source_dtype = DType::f32;
  int64_t depth = 1;
  int64_t pixel_stride = 1, depth_stride = 1;  // of the source, in elements
  const float* panels = nullptr;               // packed by pack_panels
  void* output = nullptr;                      // (samples, output extents, channels)
  DType output_dtype = DType::f32;
  int64_t channels = 1;
  int64_t output_stride = 1;  // elements between pixels of the output and of the residual
  float alpha = 1;            // scales the sum, before the terms
  View bias, temb, residual;

  // The kernel's flat tap that is tap `tap` of this product.
  [[gnu::always_inline]] int64_t kernel_tap(int64_t tap) const {
    int64_t flat = 0, scale = 1;
    for (int axis = 2; axis >= 0; --axis) {
      const TapAxis& a = axes[axis];
      flat += (a.tap_first + tap % a.taps * a.tap_step) * scale;
      tap /= a.taps;
      scale *= a.kernel;
    }
    return flat;
  }
  [[gnu::always_inline]] int64_t taps() const { return axes[0].taps * axes[1].taps * axes[2].taps; }
  [[gnu::always_inline]] int64_t slices() const { return samples * axes[0].grid; }
  [[gnu::always_inline]] int64_t rows() const { return slices() * axes[1].grid * axes[2].grid; }
  [[gnu::always_inline]] int64_t terms() const { return taps() * depth; }  // of a sum
};

// w(t, k, j) at data[t * tap_stride + k * depth_stride + j * channel_stride], t the kernel's flat tap.
struct PanelSource {
  const void* data = nullptr;
  DType dtype = DType::f32;
  int64_t tap_stride = 0, depth_stride = 0, channel_stride = 0;
};

// The micro-kernel takes up to three groups of pixels, each of neighbours in one row of the grid: one pointer
// a group and constant distances between its pixels.
struct TapGemmKernels {
  int64_t pixels_per_group;
  int64_t channels_per_panel;  // NR
  // Panels [begin, end) of [panel][tap][k][NR]; missing channels are zero, the last panel may be half as
  // wide.
  void (*pack_panels)(const TapGemm&, const PanelSource&, float* panels, int64_t begin, int64_t end);
  // The chunk's source as f32 [slice][depth tap][row][column][k], with zeros around it.
  void (*pack_source)(const TapGemm&, const GridChunk&, float* packed);
  // Panels [panel_begin, panel_end) of the chunk's output. The source of `next`, the chunk that will follow,
  // is fetched.
  void (*multiply)(const TapGemm&, const GridChunk&, const GridChunk& next, const float* packed,
                   int64_t panel_begin, int64_t panel_end);
};

// Rows and columns of a packed slice; the columns of the last group are there even if the grid ends before.
[[gnu::always_inline]] inline int64_t packed_extent(const TapAxis& axis, int64_t count) {
  return (count - 1) * axis.source_step + (axis.taps - 1) * axis.offset_step + 1;
}
[[gnu::always_inline]] inline int64_t packed_columns(const TapGemm& g, const GridChunk& c, int64_t group) {
  return packed_extent(g.axes[2], (c.columns + group - 1) / group * group);
}
[[gnu::always_inline]] inline int64_t packed_floats(const TapGemm& g, const GridChunk& c, int64_t group) {
  return g.terms() == 0 ? 0
                        : c.slices * g.axes[0].taps * packed_extent(g.axes[1], c.rows) *
                              packed_columns(g, c, group) * g.depth;
}

}  // namespace tw::kernels
