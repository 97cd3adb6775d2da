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

// How the sum over (tap, k) is cut so that one block of rows stays in the L2 cache. A function of the shape
// only: it decides the order of the additions.
struct DepthBlocks {
  int64_t taps_per_block = 1, depth_per_block = 1, count = 0;
  int64_t stride = 0;  // (tap, k) pairs a block, rounded up to a whole number of chunks
  static DepthBlocks of(int64_t taps, int64_t depth);
};
inline constexpr int64_t chunk = 16;  // k's that lie together in a packed row

struct TapGemm {
  TapAxis axes[3];  // depth, height, width
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

  [[gnu::always_inline]] int64_t taps() const { return axes[0].taps * axes[1].taps * axes[2].taps; }
  [[gnu::always_inline]] int64_t rows() const { return samples * axes[0].grid * axes[1].grid * axes[2].grid; }
};

// w(t, k, j) at data[t * tap_stride + k * depth_stride + j * channel_stride], t the kernel's flat tap.
struct PanelSource {
  const void* data = nullptr;
  DType dtype = DType::f32;
  int64_t tap_stride = 0, depth_stride = 0, channel_stride = 0;
};

struct TapGemmKernels {
  int64_t rows_per_tile;       // MR
  int64_t channels_per_panel;  // NR
  // Panels [begin, end) of [panel][block][tap, k][NR]; missing channels and the ends of blocks are zero.
  void (*pack_panels)(const TapGemm&, const DepthBlocks&, const PanelSource&, float* panels, int64_t begin,
                      int64_t end);
  // Rows [row, row + rows) of panels [panel_begin, panel_end). `packed` holds rows (rounded up to tiles) x
  // blocks.stride floats, `sums` the same rows x the panels' channels.
  void (*run)(const TapGemm&, const DepthBlocks&, int64_t row, int64_t rows, int64_t panel_begin,
              int64_t panel_end, float* packed, float* sums);
};

}  // namespace tw::kernels
