// The product of tap_gemm.h with both operands bf16 and the sums f32, on the matrix tiles (TDPBF16PS) or the
// dot product (VDPBF16PS) of the processor.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/flat_grid.h"
#include "kernels/cpu/isa/tap_gemm.h"

namespace tw::kernels {

// Where a run of positions lies: tap t, depth block b of position i at
// from + i * position_stride + b * block_stride + offset[t], in elements.
struct FlatSource {
  const uint16_t* from = nullptr;
  int64_t position_stride = dot_depth, block_stride = 0;
  int64_t offset[dot_taps] = {};
};

struct TapGemmBf16Kernels {
  int64_t positions_per_tile;
  // Panels [begin, end) of [panel][depth block][tap][2][16 pairs of k][16 channels][2]; the rest is zero.
  void (*pack_panels)(const TapGemm&, const PanelSource&, uint16_t* panels, int64_t begin, int64_t end);
  // Positions [first, first + count) as [depth block][image][position][dot_depth], 64-byte aligned.
  void (*pack_source)(const TapGemm&, const FlatGrid&, int64_t first, int64_t count, uint16_t* packed);
  // The output's pixels at positions [first, first + count) in panels [begin, end).
  void (*multiply)(const TapGemm&, const FlatGrid&, const FlatSource&, int64_t first, int64_t count,
                   const uint16_t* panels, int64_t begin, int64_t end);
};

template <>
inline constexpr bool for_bf16_dot<TapGemmBf16Kernels> = true;

}  // namespace tw::kernels
