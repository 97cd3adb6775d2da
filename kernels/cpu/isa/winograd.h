// 3x3 convolution with stride 1 by Winograd F(4x4, 3x3): a tile of 4 x 4 outputs takes 36 multiplications
// per pair of channels where the definition takes 144.
//   Y = A^T [ sum_c (G w G^T) (.) (B^T d B) ] A  for each tile d of 6 x 6 inputs
// The 36 points of the tile's transform are 36 matrix products over the channels.
#pragma once

#include <cstdint>

#include "tensor/view.h"

namespace tw::kernels {

inline constexpr int64_t winograd_tile = 4, winograd_side = 6, winograd_points = 36;
inline constexpr int64_t winograd_chunk = 16;  // depths that lie together in a transformed tile
// Depths whose weights are transformed at a time: six points of a panel, 24 KiB, stay in the L1 cache.
inline constexpr int64_t winograd_weight_depths = 32;

// y(n, i, j, o) = sum x(n, i + a - pad_top, j + b - pad_left, c) w(a, b, c, o) + bias + temb + residual.
struct WinogradConv {
  int64_t samples = 1;
  int64_t source_h = 1, source_w = 1, output_h = 1, output_w = 1, pad_top = 0, pad_left = 0;
  int64_t depth = 1, channels = 1;
  const void* source = nullptr;  // (samples, source_h, source_w, depth)
  void* output = nullptr;        // (samples, output_h, output_w, channels)
  DType dtype = DType::f32;      // of both
  const float* panels = nullptr;
  View bias, temb, residual;

  [[gnu::always_inline]] int64_t tile_rows() const { return (output_h + winograd_tile - 1) / winograd_tile; }
  [[gnu::always_inline]] int64_t tile_columns() const {
    return (output_w + winograd_tile - 1) / winograd_tile;
  }
  [[gnu::always_inline]] int64_t tiles() const { return samples * tile_rows() * tile_columns(); }
};

// w(a, b, c, o) at data[a * row_stride + b * column_stride + c * depth_stride + o * channel_stride];
// negative strides turn the kernel round for the data gradient.
struct WinogradWeight {
  const void* data = nullptr;
  DType dtype = DType::f32;
  int64_t row_stride = 0, column_stride = 0, depth_stride = 0, channel_stride = 0;
};

// Of the sizes below.
struct WinogradScratch {
  float *tiles, *weights, *products;
};

struct WinogradKernels {
  int64_t tiles_per_group;     // of one register block
  int64_t channels_per_panel;  // NR
  // Panels [begin, end) of [panel][chunk of depths][tap][16][NR], zero where there is no channel or depth.
  void (*pack)(const WinogradConv&, const WinogradWeight&, float* panels, int64_t begin, int64_t end);
  // Outputs of tiles [tile, tile + tiles) and panels [panel_begin, panel_end).
  void (*run)(const WinogradConv&, int64_t tile, int64_t tiles, int64_t panel_begin, int64_t panel_end,
              const WinogradScratch&);
};

// Floats of one point of transformed weights or of a block of tiles. Each has a cache line more than
// the power of two it would often be, so that 36 stores in a row do not fall into one set of the cache.
[[gnu::always_inline]] inline int64_t winograd_point_stride(int64_t depth, int64_t width) {
  return (depth + winograd_chunk - 1) / winograd_chunk * winograd_chunk * width + winograd_chunk;
}
[[gnu::always_inline]] inline int64_t winograd_panel_size(int64_t depth, int64_t channels_per_panel) {
  return 9 * ((depth + winograd_chunk - 1) / winograd_chunk * winograd_chunk) * channels_per_panel;
}
[[gnu::always_inline]] inline int64_t winograd_tiles_size(int64_t depth, int64_t tiles,
                                                          int64_t tiles_per_group) {
  const int64_t rows = (tiles + tiles_per_group - 1) / tiles_per_group * tiles_per_group;
  return winograd_points * winograd_point_stride(depth, rows);
}
// A row of points.
[[gnu::always_inline]] inline int64_t winograd_weights_size(int64_t channels_per_panel) {
  return winograd_side * winograd_point_stride(winograd_weight_depths, channels_per_panel);
}
[[gnu::always_inline]] inline int64_t winograd_products_size(int64_t tiles, int64_t tiles_per_group,
                                                             int64_t channels_per_panel) {
  return (tiles + tiles_per_group) * winograd_points * channels_per_panel;
}

}  // namespace tw::kernels
