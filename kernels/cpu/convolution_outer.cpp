// The weight gradient: the tiles are shared by the threads, each of which runs over all chunks of the grid.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/convolution.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/rounding.h"
#include "kernels/cpu/thread_pool.h"

namespace tw::kernels {
namespace {

constexpr int64_t chunk_floats = 393216;   // of both operands
constexpr int64_t serial_below = 1 << 18;  // multiply-adds that are not worth a second thread

// Extents of a full chunk, from the shape alone: they decide the order of the additions.
GridChunk full_chunk(const TapOuter& g) {
  const int64_t pixels =
      std::clamp<int64_t>(chunk_floats / (g.gathered_channels + g.dense_channels), 256, 1024);
  const int64_t rows = g.axes[1].grid, columns = g.axes[2].grid;
  GridChunk c;
  c.columns = ceil_div(columns, ceil_div(columns, pixels));
  if (c.columns == columns) c.rows = std::clamp<int64_t>(pixels / columns, 1, rows);
  if (c.columns == columns && c.rows == rows)
    c.slices = std::clamp<int64_t>(pixels / (rows * columns), 1, g.slices());
  return c;
}

// The chunk that begins where `c` does.
GridChunk chunk_from(const TapOuter& g, const GridChunk& full, GridChunk c) {
  c.slices = std::min(full.slices, g.slices() - c.slice);
  c.rows = std::min(full.rows, g.axes[1].grid - c.row);
  c.columns = std::min(full.columns, g.axes[2].grid - c.column);
  return c;
}

// The last one is followed by one that begins at slice g.slices().
GridChunk chunk_after(const TapOuter& g, const GridChunk& full, GridChunk c) {
  if ((c.column += full.columns) >= g.axes[2].grid) {
    c.column = 0;
    if ((c.row += full.rows) >= g.axes[1].grid) {
      c.row = 0;
      c.slice = std::min(c.slice + full.slices, g.slices());
    }
  }
  return chunk_from(g, full, c);
}

// A thread's tiles, with the row blocks and column panels that it copies for itself: nothing is shared, as
// lines that another core has just written cost more than copying them again.
struct Share {
  int64_t begin, end, block_begin, block_end, panel_begin, panel_end;
};

Share share_of(const TapOuter& g, const TapOuterKernels& kernels, int64_t slot, int64_t slots) {
  const int64_t blocks = row_blocks(g, kernels.rows_per_tile, kernels.row_unit).count, taps = g.tile_taps();
  const int64_t tiles = ceil_div(g.column_channels(), kernels.columns_per_tile) * blocks * taps;
  Share s{tiles * slot / slots, tiles * (slot + 1) / slots, 0, blocks, 0, 0};
  s.panel_begin = s.begin / (taps * blocks);
  s.panel_end = ceil_div(s.end, taps * blocks);
  if (s.panel_end == s.panel_begin + 1) {
    s.block_begin = s.begin / taps % blocks;
    s.block_end = (s.end - 1) / taps % blocks + 1;
  }
  return s;
}

int64_t slots_of(const TapOuter& g, const TapOuterKernels& kernels) {
  const int64_t work =
      g.slices() * g.axes[1].grid * g.axes[2].grid * g.tile_taps() * g.row_channels() * g.column_channels();
  const Share all = share_of(g, kernels, 0, 1);
  return work < serial_below ? 1 : std::min<int64_t>(thread_count(), all.end);
}

struct Sizes {
  int64_t rows, columns;
};

// Floats of a thread's two operands.
Sizes sizes_of(const TapOuter& g, Share s, const TapOuterKernels& kernels) {
  const GridChunk c = full_chunk(g);
  const SourceBox box = source_box(g, c);
  // Chunks in the middle touch a border on either side.
  const auto most = [](int64_t extent, int64_t count, const TapAxis& a) {
    return std::min(extent, (count - 1) * a.source_step + (a.taps - 1) * a.offset_step + 1);
  };
  const int64_t gathered =
      box.planes * most(g.axes[1].source, c.rows, g.axes[1]) * most(g.axes[2].source, c.columns, g.axes[2]);
  const int64_t dense = c.slices * c.rows * c.columns;
  const int64_t unit = kernels.row_unit, width = kernels.columns_per_tile;
  const RowBlocks blocks = row_blocks(g, kernels.rows_per_tile, unit);
  if (g.folded()) s.block_begin = 0, s.block_end = blocks.count;
  const int64_t rows = blocks.begin(s.block_end) - blocks.begin(s.block_begin);
  return {round_up(rows * (g.dense_rows || g.folded() ? dense : gathered), 16),
          (s.panel_end - s.panel_begin) * width * (g.dense_rows ? gathered : dense)};
}

int64_t slot_floats(const TapOuter& g, int64_t slots, const TapOuterKernels& kernels) {
  int64_t most = 0;
  for (int64_t slot = 0; slot < slots; ++slot) {
    const Sizes sizes = sizes_of(g, share_of(g, kernels, slot, slots), kernels);
    most = std::max(most, round_up(sizes.rows + sizes.columns, 16));
  }
  return most;
}

bool empty(const TapOuter& g) {
  return g.slices() * g.axes[1].grid * g.axes[2].grid * g.row_channels() * g.column_channels() == 0;
}

}  // namespace

int64_t workspace_size(const TapOuter& g) {
  if (empty(g)) return 0;
  const auto& kernels = active<TapOuterKernels>();
  const int64_t slots = slots_of(g, kernels);
  return slots * slot_floats(g, slots, kernels);
}

void run_outer(const TapOuter& g, float* workspace) {
  if (empty(g)) {
    std::memset(g.gradient, 0,
                static_cast<size_t>(g.tile_taps() * g.row_channels() * g.column_channels()) * sizeof(float));
    if (g.dense_sum) std::memset(g.dense_sum, 0, static_cast<size_t>(g.dense_channels) * sizeof(float));
    return;
  }
  const auto& kernels = active<TapOuterKernels>();
  const int64_t slots = slots_of(g, kernels), floats = slot_floats(g, slots, kernels);
  const GridChunk full = full_chunk(g);
  parallel_for(slots, 1, [&](int64_t slot_begin, int64_t slot_end) {
    for (int64_t slot = slot_begin; slot < slot_end; ++slot) {
      const Share s = share_of(g, kernels, slot, slots);
      float* rows = workspace + slot * floats;
      float* columns = rows + sizes_of(g, s, kernels).rows;
      GridChunk c = chunk_from(g, full, {}), next = c;
      for (bool first = true; c.slice < g.slices(); c = next, first = false) {
        next = chunk_after(g, full, c);
        kernels.pack_rows(g, c, s.block_begin, s.block_end, rows);
        kernels.pack_columns(g, c, s.panel_begin, s.panel_end, columns);
        kernels.multiply(g, c, next.slice < g.slices() ? next : c, rows, columns, s.begin, s.end, first);
      }
    }
  });
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
