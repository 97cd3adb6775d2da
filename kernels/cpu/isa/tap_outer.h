// The weight gradient of everything that tap_gemm.h computes:
//   dw(t, i, j) = sum over grid pixels of  gathered(pixel(row, t), i) dense(row, j)
// and, for a transposed convolution, with the two operands exchanged. One operand is read on the grid
// (dense), the other where tap t moves it (gathered, zero outside).
#pragma once

#include <cstdint>

#include "kernels/cpu/isa/tap_gemm.h"

namespace tw::kernels {

// A part of the grid whose operands fit in the cache: `slices` (sample, depth) planes x rows x columns.
struct OuterChunk {
  int64_t slice = 0, slices = 1, row = 0, rows = 1, column = 0, columns = 1;
};

struct TapOuter {
  TapAxis axes[3];  // tap_first = 0 and tap_step = 1
  int64_t samples = 1;
  const void* gathered = nullptr;  // (samples, source extents, gathered_channels)
  const void* dense = nullptr;     // (samples, grid extents, dense_channels)
  DType gathered_dtype = DType::f32, dense_dtype = DType::f32;
  int64_t gathered_channels = 1, dense_channels = 1;
  bool dense_rows = false;     // i runs over dense and j over gathered (transposed convolution)
  float* gradient = nullptr;   // (taps, i, j)
  float* dense_sum = nullptr;  // (dense_channels), the bias gradient; only without dense_rows

  [[gnu::always_inline]] int64_t taps() const { return axes[0].taps * axes[1].taps * axes[2].taps; }
  [[gnu::always_inline]] int64_t slices() const { return samples * axes[0].grid; }
  [[gnu::always_inline]] int64_t row_channels() const {
    return dense_rows ? dense_channels : gathered_channels;
  }
  [[gnu::always_inline]] int64_t column_channels() const {
    return dense_rows ? gathered_channels : dense_channels;
  }
};

struct TapOuterKernels {
  int64_t rows_per_tile;     // MR
  int64_t columns_per_tile;  // NR
  // Copies lines [begin, end) of the chunk to f32 panels [channel block][pixel][block width]. The lines of
  // the gathered operand are (slice, depth tap, source row), those of the dense one (slice, row).
  void (*pack_gathered)(const TapOuter&, const OuterChunk&, float* panels, int64_t begin, int64_t end);
  void (*pack_dense)(const TapOuter&, const OuterChunk&, float* panels, int64_t begin, int64_t end);
  // Adds the chunk to tiles [begin, end) of the gradient, numbered (j block, tap, i block).
  void (*multiply)(const TapOuter&, const OuterChunk&, const float* gathered, const float* dense,
                   int64_t begin, int64_t end);
};

// Source rows and columns that a chunk touches.
[[gnu::always_inline]] inline int64_t gathered_rows(const TapOuter& g, const OuterChunk& c) {
  return (c.rows - 1) * g.axes[1].source_step + (g.axes[1].taps - 1) * g.axes[1].offset_step + 1;
}
[[gnu::always_inline]] inline int64_t gathered_columns(const TapOuter& g, const OuterChunk& c) {
  return (c.columns - 1) * g.axes[2].source_step + (g.axes[2].taps - 1) * g.axes[2].offset_step + 1;
}

}  // namespace tw::kernels
