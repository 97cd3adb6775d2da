#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/attention.h"
#include "kernels/cpu/isa/tap_gemm_bf16.h"

namespace tw::kernels {

inline constexpr int64_t attention_rows = 36;  // a block of queries rounded up to tiles of 16 and of 12

// The forward pass with bf16 products, for heads of whole multiples of 32 channels.
struct AttentionBf16Kernels {
  // The pair's k as panels of 32 tokens and v as panels of 32 channels, each of blocks of 32 summands.
  void (*pack)(const AttentionJob&, int64_t pair, uint16_t* k_panels, uint16_t* v_panels);
  void (*forward)(const AttentionJob&, int64_t pair, int64_t block, const uint16_t* k_panels,
                  const uint16_t* v_panels, void* scratch);
};

// Bytes of the panels of k (or v) and of the scratch of a block.
[[gnu::always_inline]] inline int64_t attention_panel_bytes(int64_t tk, int64_t d) {
  return (tk + 31) / 32 * 32 * d * 2;
}
[[gnu::always_inline]] inline int64_t attention_scratch_bytes(int64_t tk, int64_t d) {
  return attention_rows * ((d + dot_channels * 2) * 2 + (tk + 31) / 32 * 32 * 6);
}

template <>
inline constexpr bool for_bf16_dot<AttentionBf16Kernels> = true;

}  // namespace tw::kernels
