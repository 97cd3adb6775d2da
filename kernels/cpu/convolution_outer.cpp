// The weight gradient: the chunks of the grid one after the other, the tiles of each shared by the threads.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/convolution.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/thread_pool.h"

namespace tw::kernels {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// Extents of a full chunk, from the shape alone: they decide the order of the additions.
OuterChunk full_chunk(const TapOuter& g) {
  const int64_t pixels = g.gathered_channels + g.dense_channels > 512 ? 256 : 512;
  const int64_t rows = g.axes[1].grid, columns = g.axes[2].grid;
  OuterChunk c;
  c.columns = ceil_div(columns, ceil_div(columns, pixels));
  if (c.columns == columns) c.rows = std::clamp<int64_t>(pixels / columns, 1, rows);
  if (c.columns == columns && c.rows == rows)
    c.slices = std::clamp<int64_t>(pixels / (rows * columns), 1, g.slices());
  return c;
}

struct Sizes {
  int64_t gathered, dense;
};

// Floats of the two operands; panels are padded to the wider of the two block widths.
Sizes sizes_of(const TapOuter& g, const OuterChunk& c, const TapOuterKernels& kernels) {
  const int64_t moved = g.dense_rows ? kernels.columns_per_tile : kernels.rows_per_tile;
  const int64_t still = g.dense_rows ? kernels.rows_per_tile : kernels.columns_per_tile;
  return {round_up(g.gathered_channels, moved) * c.slices * g.axes[0].taps * gathered_rows(g, c) *
              gathered_columns(g, c),
          round_up(g.dense_channels, still) * c.slices * c.rows * c.columns};
}

}  // namespace

int64_t workspace_size(const TapOuter& g) {
  if (g.slices() * g.axes[1].grid * g.axes[2].grid == 0) return 0;
  const Sizes sizes = sizes_of(g, full_chunk(g), active<TapOuterKernels>());
  return round_up(sizes.gathered, chunk) + sizes.dense;
}

void run_outer(const TapOuter& g, float* workspace) {
  const auto& kernels = active<TapOuterKernels>();
  const int64_t rows = g.axes[1].grid, columns = g.axes[2].grid;
  std::memset(g.gradient, 0,
              static_cast<size_t>(g.taps() * g.row_channels() * g.column_channels()) * sizeof(float));
  if (g.dense_sum) std::memset(g.dense_sum, 0, static_cast<size_t>(g.dense_channels) * sizeof(float));
  if (g.slices() * rows * columns == 0) return;

  const OuterChunk full = full_chunk(g);
  float* gathered = workspace;
  float* dense = workspace + round_up(sizes_of(g, full, kernels).gathered, chunk);
  const int64_t row_blocks = ceil_div(g.row_channels(), kernels.rows_per_tile);
  const int64_t tiles = row_blocks * g.taps() * ceil_div(g.column_channels(), kernels.columns_per_tile);
  OuterChunk c;
  for (c.slice = 0; c.slice < g.slices(); c.slice += full.slices)
    for (c.row = 0; c.row < rows; c.row += full.rows)
      for (c.column = 0; c.column < columns; c.column += full.columns) {
        c.slices = std::min(full.slices, g.slices() - c.slice);
        c.rows = std::min(full.rows, rows - c.row);
        c.columns = std::min(full.columns, columns - c.column);
        const int64_t moved_lines = c.slices * g.axes[0].taps * gathered_rows(g, c),
                      lines = c.slices * c.rows;
        parallel_for(moved_lines + lines, 2, [&](int64_t begin, int64_t end) {
          if (begin < moved_lines) kernels.pack_gathered(g, c, gathered, begin, std::min(end, moved_lines));
          if (end > moved_lines)
            kernels.pack_dense(g, c, dense, std::max<int64_t>(begin - moved_lines, 0), end - moved_lines);
        });
        parallel_for(tiles, 4, [&](int64_t begin, int64_t end) {
          kernels.multiply(g, c, gathered, dense, begin, end);
        });
      }
}

TapOuter outer_product(const ConvGeometry& geometry, const View& fine, const View& coarse) {
  TapOuter g;
  g.samples = geometry.samples;
  for (int axis = 0; axis < 3; ++axis) {
    const ConvAxis& a = geometry.axes[axis];
    TapAxis& t = g.axes[axis];
    t.source = a.fine;
    t.grid = t.output = a.coarse;
    t.source_step = a.stride;
    t.taps = t.kernel = a.kernel;
    t.offset = -a.pad;
    t.offset_step = a.dilation;
  }
  g.gathered = fine.pointer;
  g.gathered_dtype = fine.dtype;
  g.gathered_channels = fine.shape.back();
  g.dense = coarse.pointer;
  g.dense_dtype = coarse.dtype;
  g.dense_channels = coarse.shape.back();
  return g;
}

}  // namespace tw::kernels
