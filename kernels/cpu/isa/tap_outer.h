// The weight gradient of everything that tap_gemm.h computes:
//   dw(t, i, j) = sum over grid pixels of  gathered(pixel(row, t), i) dense(row, j)
// and, for a transposed convolution, with the two operands exchanged. One operand is read on the grid
// (dense), the other where tap t moves it (gathered, zero outside).
#pragma once

#include <cstdint>

#include "kernels/cpu/isa/tap_gemm.h"

namespace tw::kernels {

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
  // Few channels would fill few rows of a tile: then i runs over (tap, channel), copied for every pixel.
  [[gnu::always_inline]] bool folded() const { return !dense_rows && gathered_channels <= 4 && taps() > 1; }
  [[gnu::always_inline]] int64_t tile_taps() const { return folded() ? 1 : taps(); }
  [[gnu::always_inline]] int64_t row_channels() const {
    return dense_rows ? dense_channels : folded() ? taps() * gathered_channels : gathered_channels;
  }
  [[gnu::always_inline]] int64_t column_channels() const {
    return dense_rows ? gathered_channels : dense_channels;
  }
};

// The i operand is broadcast, the j operand is read in vectors. Channels are cut into row blocks of at most
// rows_per_tile and column panels of columns_per_tile; tiles are numbered (panel, row block, tap).
struct TapOuterKernels {
  int64_t rows_per_tile;     // MR
  int64_t columns_per_tile;  // NR
  int64_t row_unit;          // row blocks are multiples of this

  // Copies row blocks or column panels [begin, end) of the chunk to f32, [block][pixel][channel of the
  // block].
  void (*pack_rows)(const TapOuter&, const GridChunk&, int64_t begin, int64_t end, float* packed);
  void (*pack_columns)(const TapOuter&, const GridChunk&, int64_t begin, int64_t end, float* packed);
  // Adds the chunk to tiles [begin, end), or sets them if `first`. `rows` and `columns` begin with the first
  // block and panel of the range. The operands of `next`, the chunk that will follow, are fetched.
  void (*multiply)(const TapOuter&, const GridChunk&, const GridChunk& next, const float* rows,
                   const float* columns, int64_t begin, int64_t end, bool first);
};

// Rows, columns and planes of the source that a chunk touches; planes outside of it count, lines do not.
struct SourceBox {
  int64_t row = 0, rows = 0, column = 0, columns = 0, planes = 0;
  [[gnu::always_inline]] int64_t pixels() const { return planes * rows * columns; }
};

// Grid positions [begin, end) from which a tap stays inside of the source.
struct Span {
  int64_t begin, end;
};
[[gnu::always_inline]] inline Span inside(const TapAxis& a, int64_t tap, int64_t begin, int64_t end) {
  const int64_t shift = a.offset + tap * a.offset_step;
  const int64_t low = shift < 0 ? (-shift + a.source_step - 1) / a.source_step : 0;
  const int64_t high = a.source > shift ? (a.source - shift + a.source_step - 1) / a.source_step : 0;
  begin = begin > low ? begin : low;
  end = end < high ? end : high;
  return {begin, end > begin ? end : begin};
}

[[gnu::always_inline]] inline Span touched(const TapAxis& a, int64_t begin, int64_t count) {
  const int64_t first = begin * a.source_step + a.offset;
  const int64_t last = (begin + count - 1) * a.source_step + a.offset + (a.taps - 1) * a.offset_step;
  const int64_t low = first > 0 ? first : 0, high = last + 1 < a.source ? last + 1 : a.source;
  return {low, high > low ? high : low};
}

[[gnu::always_inline]] inline SourceBox source_box(const TapOuter& g, const GridChunk& c) {
  const Span rows = touched(g.axes[1], c.row, c.rows), columns = touched(g.axes[2], c.column, c.columns);
  return {rows.begin, rows.end - rows.begin, columns.begin, columns.end - columns.begin,
          c.slices * g.axes[0].taps};
}

// Row blocks are as equal as multiples of the unit can be: 64 = 12 + 12 + 12 + 12 + 8 + 8, never 60 + 4.
struct RowBlocks {
  int64_t count, unit, small, larger;  // blocks of `small` units, the first `larger` of one more
  [[gnu::always_inline]] int64_t begin(int64_t block) const {
    return (block * small + (block < larger ? block : larger)) * unit;
  }
};
[[gnu::always_inline]] inline RowBlocks row_blocks(const TapOuter& g, int64_t rows_per_tile, int64_t unit) {
  const int64_t units = (g.row_channels() + unit - 1) / unit, most = rows_per_tile / unit;
  const int64_t count = (units + most - 1) / most;
  return {count, unit, units / count, units % count};
}

}  // namespace tw::kernels
