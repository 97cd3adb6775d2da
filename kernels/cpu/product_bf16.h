// The engine of cpu/isa/tap_gemm_bf16.h on all threads, for products whose source and output are bf16.
#pragma once

#include "kernels/cpu/isa/tap_gemm.h"

namespace tw::kernels {

// Why a product is widened to f32 instead; null where this engine is faster. Depends on the instruction set,
// the processor's identity and the product's depth, channels and taps: not on the map, the batch or threads.
const char* bf16_product_declines(const TapGemm& product);

// As packed_size, pack_weights, workspace_size and run_product in convolution.h; sizes in floats, memory
// 64-byte aligned. f32 weights are rounded to bf16.
int64_t bf16_packed_size(const TapGemm& product);
void bf16_pack_weights(const TapGemm& product, const PanelSource& weight, float* packed);
int64_t bf16_workspace_size(const TapGemm& product, int slots);
void run_bf16_product(const TapGemm& product, int slots, float* workspace);

}  // namespace tw::kernels
