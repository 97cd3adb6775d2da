// The channels of one operand are shared by the threads, each of which copies what it multiplies. A gradient
// of a single block is summed in up to four groups of positions instead, however many threads there are.
#include "kernels/cpu/outer_bf16.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/tap_outer_bf16.h"
#include "kernels/cpu/rounding.h"
#include "kernels/cpu/thread_pool.h"

namespace tw::kernels {
namespace {

constexpr int64_t chunk_elements = 393216;  // of both operands: 768 KiB
constexpr int64_t serial_below = 1 << 20;   // multiply-adds that are not worth a second thread

struct Partition {
  int64_t chunk;  // positions
  int64_t rows, columns, slots = 1, groups = 1;
  bool share_rows = true;

  Partition(const TapOuter& g, const FlatGrid& flat) {
    rows = ceil_div(g.gathered_channels, outer_block);
    columns = ceil_div(g.dense_channels, outer_block);
    const int64_t position = std::max<int64_t>(1, (flat.images() * rows + columns) * outer_block);
    chunk = std::clamp<int64_t>(chunk_elements / position / 32, 8, 32) * 32;
    chunk = std::min(chunk, round_up(flat.positions, 32));
    if (flat.positions * g.taps() * g.gathered_channels * g.dense_channels < serial_below) return;
    if (rows == 1 && columns == 1) {
      groups = slots = std::min<int64_t>(4, ceil_div(flat.positions, chunk));
      return;
    }
    // Transposing the rows costs more than pairing the columns.
    share_rows = rows >= thread_count() || rows >= columns;
    slots = std::min<int64_t>(thread_count(), share_rows ? rows : columns);
  }
  OuterBlocks blocks(int64_t slot) const {
    OuterBlocks b{0, rows, 0, columns};
    if (groups > 1) return b;
    (share_rows ? b.row_begin : b.column_begin) = (share_rows ? rows : columns) * slot / slots;
    (share_rows ? b.row_end : b.column_end) = (share_rows ? rows : columns) * (slot + 1) / slots;
    return b;
  }
  int64_t row_elements(const FlatGrid& flat) const {
    const int64_t most = share_rows ? ceil_div(rows, slots) : rows;
    return flat.images() * most * outer_block * row_length(flat, chunk);
  }
  int64_t slot_elements(const FlatGrid& flat) const {
    const int64_t most = share_rows ? columns : ceil_div(columns, slots);
    return row_elements(flat) + most * outer_block * chunk;
  }
};

int64_t gradient_size(const TapOuter& g) { return g.taps() * g.gathered_channels * g.dense_channels; }

// Floats of one group's gradient and bias gradient.
int64_t group_size(const TapOuter& g) { return round_up(gradient_size(g) + g.dense_channels, 16); }

bool empty(const TapOuter& g) {
  return g.slices() * g.axes[1].grid * g.axes[2].grid * g.gathered_channels * g.dense_channels == 0;
}

FlatGrid grid_of(const TapOuter& g) { return flat_grid(g.axes, g.samples, g.gathered_channels); }

}  // namespace

const char* bf16_outer_declines(const TapOuter& g) {
  const Bf16Dot dot = bf16_dot();
  if (g.gathered_dtype != DType::bf16 || g.dense_dtype != DType::bf16) return "the activations are not bf16";
  if (dot == Bf16Dot::widen) return "this processor multiplies f32 as fast as bf16";
  if (g.dense_rows) return "the rows are on the grid";
  for (const TapAxis& a : g.axes)
    if (a.taps > dot_axis_taps) return "more than 16 taps along an axis";
  if (g.taps() > dot_taps) return "more than 128 taps";
  const int64_t rate = dot == Bf16Dot::tdpbf16ps ? 8 : 2;
  const int64_t here = round_up(g.gathered_channels, outer_block) * round_up(g.dense_channels, outer_block);
  return here > rate * g.gathered_channels * g.dense_channels ? "too few channels" : nullptr;
}

int64_t bf16_outer_workspace_size(const TapOuter& g) {
  if (empty(g)) return 0;
  const FlatGrid flat = grid_of(g);
  const Partition p(g, flat);
  return p.slots * p.slot_elements(flat) / 2 + (p.groups > 1 ? p.groups * group_size(g) : 0);
}

void run_bf16_outer(const TapOuter& g, float* workspace) {
  if (empty(g)) {
    std::memset(g.gradient, 0, static_cast<size_t>(gradient_size(g)) * sizeof(float));
    if (g.dense_sum) std::memset(g.dense_sum, 0, static_cast<size_t>(g.dense_channels) * sizeof(float));
    return;
  }
  const auto& kernels = active<TapOuterBf16Kernels>();
  const FlatGrid flat = grid_of(g);
  const Partition p(g, flat);
  const int64_t chunks = ceil_div(flat.positions, p.chunk);
  float* parts = workspace + p.slots * p.slot_elements(flat) / 2;
  parallel_for(p.slots, 1, [&](int64_t slot_begin, int64_t slot_end) {
    for (int64_t slot = slot_begin; slot < slot_end; ++slot) {
      const OuterBlocks blocks = p.blocks(slot);
      uint16_t* rows = reinterpret_cast<uint16_t*>(workspace) + slot * p.slot_elements(flat);
      uint16_t* columns = rows + p.row_elements(flat);
      TapOuter part = g;
      int64_t begin = 0, end = chunks;
      if (p.groups > 1) {
        begin = chunks * slot / p.groups, end = chunks * (slot + 1) / p.groups;
        part.gradient = parts + slot * group_size(g);
        if (g.dense_sum) part.dense_sum = part.gradient + gradient_size(g);
      }
      const bool sum = g.dense_sum && (p.groups > 1 || !p.share_rows || slot == 0);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i * p.chunk;
        const OuterPositions positions{first, std::min(p.chunk, round_up(flat.positions - first, 32))};
        kernels.pack_rows(part, flat, positions, blocks, rows);
        kernels.pack_columns(part, flat, positions, blocks, columns, sum, i == begin);
        kernels.multiply(part, flat, positions, blocks, rows, columns, i == begin);
      }
    }
  });
  if (p.groups == 1) return;
  const auto add = [&](const float* from, int64_t count, float* to) {
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof *to);
    for (int64_t group = 1; group < p.groups; ++group)
      for (int64_t i = 0; i < count; ++i) to[i] += from[group * group_size(g) + i];
  };
  add(parts, gradient_size(g), g.gradient);
  if (g.dense_sum) add(parts + gradient_size(g), g.dense_channels, g.dense_sum);
}

}  // namespace tw::kernels
