// Algorithm: both operands of a chunk of the grid are copied to panels of MR or NR channels, the gathered one
// with its zero border, so that a tap is an offset. Each tile (tap, MR rows, NR columns) of the gradient then
// runs over the chunk's pixels with its MR x NR sums in registers and is added to the result once a chunk:
// the order of the additions depends on the shape alone.
#include "kernels/cpu/isa/tap_outer.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/vec.h"

namespace tw::kernels {
namespace {

using TW_ISA::Vec;
using V = Vec<float>;
constexpr int lanes = V::lanes;
constexpr int tile_rows = TW_VECTOR_BYTES == 64 ? 8 : 4;
constexpr int tile_vectors = 2;
constexpr int tile_columns = tile_vectors * lanes;

struct Operand {
  const float* at;
  int64_t slice, row, pixel;  // steps, in floats
};

template <int NV>
[[gnu::noinline]] void outer(Operand a, Operand b, int64_t slices, int64_t rows, int64_t columns,
                             float* __restrict tile) {
  typename V::Native sums[tile_rows][NV];
#pragma GCC unroll 16
  for (int i = 0; i < tile_rows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) sums[i][j] = V(0.0f).native;
  for (int64_t s = 0; s < slices; ++s)
    for (int64_t r = 0; r < rows; ++r) {
      const float* x = a.at + s * a.slice + r * a.row;
      const float* y = b.at + s * b.slice + r * b.row;
      for (int64_t p = 0; p < columns; ++p) {
        typename V::Native right[NV];
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) right[j] = V::load(y + j * lanes).native;
#pragma GCC unroll 16
        for (int i = 0; i < tile_rows; ++i) {
          const typename V::Native left = V(x[i]).native;
#pragma GCC unroll 4
          for (int j = 0; j < NV; ++j) sums[i][j] = left * right[j] + sums[i][j];
        }
        x += a.pixel;
        y += b.pixel;
      }
    }
#pragma GCC unroll 16
  for (int i = 0; i < tile_rows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) V(sums[i][j]).store(tile + (i * NV + j) * lanes);
}

// One pixel into panels of `width` channels (the last `last_width` wide), `pixels` pixels each.
template <class T>
TW_INLINE void copy_pixel(const T* from, int64_t channels, int64_t width, int64_t last_width, int64_t pixels,
                          int64_t pixel, float* panels) {
  for (int64_t c = 0; c < channels; c += width) {
    const int64_t w = c + width < channels ? width : last_width;
    float* to = panels + c * pixels + pixel * w;
    const int64_t count = channels - c < w ? channels - c : w;
    if (from && count == w && w % lanes == 0) {
      for (int64_t j = 0; j < w; j += lanes) V::load(from + c + j).store(to + j);
      continue;
    }
    for (int64_t j = 0; j < w; ++j) to[j] = from && j < count ? static_cast<float>(from[c + j]) : 0.0f;
  }
}

struct Widths {
  int64_t width, last;
};

Widths widths_of(int64_t channels, bool columns) {
  if (!columns) return {tile_rows, tile_rows};
  const int64_t rest = channels % tile_columns;
  return {tile_columns, rest && rest <= lanes ? lanes : tile_columns};
}

template <class T>
void pack_gathered_of(const TapOuter& g, const OuterChunk& c, float* panels, int64_t begin, int64_t end) {
  const TapAxis &depth = g.axes[0], &height = g.axes[1], &width = g.axes[2];
  const int64_t lines = gathered_rows(g, c), columns = gathered_columns(g, c);
  const int64_t pixels = c.slices * depth.taps * lines * columns;
  const Widths w = widths_of(g.gathered_channels, g.dense_rows);
  for (int64_t line = begin; line < end; ++line) {
    const int64_t slice = c.slice + line / (depth.taps * lines), tap = line / lines % depth.taps;
    const int64_t z = slice % depth.grid * depth.source_step + depth.offset + tap * depth.offset_step;
    const int64_t y = c.row * height.source_step + height.offset + line % lines;
    const bool inside = z >= 0 && z < depth.source && y >= 0 && y < height.source;
    const T* from =
        static_cast<const T*>(g.gathered) +
        ((slice / depth.grid * depth.source + z) * height.source + y) * width.source * g.gathered_channels;
    for (int64_t column = 0; column < columns; ++column) {
      const int64_t x = c.column * width.source_step + width.offset + column;
      const bool here = inside && x >= 0 && x < width.source;
      copy_pixel<T>(here ? from + x * g.gathered_channels : nullptr, g.gathered_channels, w.width, w.last,
                    pixels, line * columns + column, panels);
    }
  }
}

template <class T>
void pack_dense_of(const TapOuter& g, const OuterChunk& c, float* panels, int64_t begin, int64_t end) {
  const Widths w = widths_of(g.dense_channels, !g.dense_rows);
  for (int64_t line = begin; line < end; ++line) {
    const int64_t slice = c.slice + line / c.rows, row = c.row + line % c.rows;
    const T* from = static_cast<const T*>(g.dense) +
                    ((slice * g.axes[1].grid + row) * g.axes[2].grid + c.column) * g.dense_channels;
    for (int64_t column = 0; column < c.columns; ++column)
      copy_pixel<T>(from + column * g.dense_channels, g.dense_channels, w.width, w.last,
                    c.slices * c.rows * c.columns, line * c.columns + column, panels);
  }
}

void pack_gathered(const TapOuter& g, const OuterChunk& c, float* panels, int64_t begin, int64_t end) {
  if (g.gathered_dtype == DType::bf16) return pack_gathered_of<bf16>(g, c, panels, begin, end);
  pack_gathered_of<float>(g, c, panels, begin, end);
}

void pack_dense(const TapOuter& g, const OuterChunk& c, float* panels, int64_t begin, int64_t end) {
  if (g.dense_dtype == DType::bf16) return pack_dense_of<bf16>(g, c, panels, begin, end);
  pack_dense_of<float>(g, c, panels, begin, end);
}

// sum(j) += the panel's pixels, in order.
void add_columns(const float* panel, int64_t width, int64_t pixels, float* sum, int64_t count) {
  for (int64_t j = 0; j < width && j < count; j += lanes) {
    V total(0.0f);
    for (int64_t p = 0; p < pixels; ++p) total += V::load(panel + p * width + j);
    const int64_t n = count - j < lanes ? count - j : lanes;
    (V::load(sum + j, n) + total).store(sum + j, n);
  }
}

void multiply(const TapOuter& g, const OuterChunk& c, const float* gathered, const float* dense,
              int64_t begin, int64_t end) {
  const TapAxis &depth = g.axes[0], &height = g.axes[1], &width = g.axes[2];
  const int64_t lines = gathered_rows(g, c), line = gathered_columns(g, c), taps = g.taps();
  const int64_t moved_pixels = c.slices * depth.taps * lines * line, pixels = c.slices * c.rows * c.columns;
  const int64_t rows = g.row_channels(), columns = g.column_channels();
  const int64_t row_blocks = (rows + tile_rows - 1) / tile_rows;
  const Widths column_width = widths_of(columns, true);
  float tile[tile_rows * tile_columns];
  for (int64_t index = begin; index < end; ++index) {
    const int64_t i = index % row_blocks * tile_rows, tap = index / row_blocks % taps;
    const int64_t j = index / (row_blocks * taps) * tile_columns;
    const int64_t wide = j + tile_columns < columns ? column_width.width : column_width.last;
    const int64_t moved_width = g.dense_rows ? wide : tile_rows,
                  still_width = g.dense_rows ? tile_rows : wide;
    const int64_t tw = tap % width.taps, th = tap / width.taps % height.taps,
                  td = tap / (width.taps * height.taps);
    const int64_t offset = (td * lines + th * height.offset_step) * line + tw * width.offset_step;
    const Operand moved{gathered + (g.dense_rows ? j : i) * moved_pixels + offset * moved_width,
                        depth.taps * lines * line * moved_width, height.source_step * line * moved_width,
                        width.source_step * moved_width};
    const Operand still{dense + (g.dense_rows ? i : j) * pixels, c.rows * c.columns * still_width,
                        c.columns * still_width, still_width};
    const Operand &a = g.dense_rows ? still : moved, &b = g.dense_rows ? moved : still;
    if (wide == lanes)
      outer<1>(a, b, c.slices, c.rows, c.columns, tile);
    else
      outer<tile_vectors>(a, b, c.slices, c.rows, c.columns, tile);
    const int64_t count = columns - j < wide ? columns - j : wide;
    for (int64_t r = 0; r < tile_rows && i + r < rows; ++r) {
      float* to = g.gradient + (tap * rows + i + r) * columns + j;
      const float* from = tile + r * wide;
      int64_t k = 0;
      for (; k + lanes <= count; k += lanes) (V::load(to + k) + V::load(from + k)).store(to + k);
      for (; k < count; ++k) to[k] += from[k];
    }
    if (g.dense_sum && tap == 0 && i == 0) add_columns(still.at, wide, pixels, g.dense_sum + j, count);
  }
}

}  // namespace

template <>
const TapOuterKernels& kernels_of<TapOuterKernels, Isa::TW_ISA>() {
  static const TapOuterKernels kernels{tile_rows, tile_columns, pack_gathered, pack_dense, multiply};
  return kernels;
}

}  // namespace tw::kernels
