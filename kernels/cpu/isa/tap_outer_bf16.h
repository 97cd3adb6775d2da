// The weight gradient of tap_outer.h with both operands bf16 and the sums f32. The summed index is the
// position in a flat grid (flat_grid.h): the gathered operand is copied transposed, (channel, position), so
// that a tap is a shift; the dense one in pairs of positions, with zeros where the grid has none.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/flat_grid.h"
#include "kernels/cpu/isa/tap_outer.h"

namespace tw::kernels {

inline constexpr int64_t outer_block = 32;  // channels of a tile's rows and of its columns

struct OuterPositions {
  int64_t first = 0, count = 0;  // whole steps of 32
};

// Blocks of outer_block gathered (rows) and dense (columns) channels.
struct OuterBlocks {
  int64_t row_begin = 0, row_end = 0, column_begin = 0, column_end = 0;
};

struct TapOuterBf16Kernels {
  // The row blocks as [image][channel][position], from `lead` before the first position on, `row_length`
  // positions each.
  void (*pack_rows)(const TapOuter&, const FlatGrid&, const OuterPositions&, const OuterBlocks&,
                    uint16_t* packed);
  // The column blocks as [16 channels][pair][channel][2]; adds to dense_sum, or sets it if `first`, if asked.
  void (*pack_columns)(const TapOuter&, const FlatGrid&, const OuterPositions&, const OuterBlocks&,
                       uint16_t* packed, bool sum, bool first);
  // Adds the positions to the blocks' gradient, or sets it if `first`.
  void (*multiply)(const TapOuter&, const FlatGrid&, const OuterPositions&, const OuterBlocks&,
                   const uint16_t* rows, const uint16_t* columns, bool first);
};

// An odd number of cache lines, so that the channels of a tile lie in different sets of the cache.
[[gnu::always_inline]] inline int64_t row_length(const FlatGrid& flat, int64_t count) {
  return ((count + flat.lead + flat.reach + 31) / 32 | 1) * 32;
}

template <>
inline constexpr bool for_bf16_dot<TapOuterBf16Kernels> = true;

}  // namespace tw::kernels
