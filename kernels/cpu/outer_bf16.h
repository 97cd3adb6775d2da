// The engine of cpu/isa/tap_outer_bf16.h on all threads, for weight gradients of bf16 operands.
#pragma once

#include "kernels/cpu/isa/tap_outer.h"

namespace tw::kernels {

// Why the operands are widened to f32 instead; null where this engine is faster. Depends on the instruction
// set, the processor's identity, channels and taps.
const char* bf16_outer_declines(const TapOuter& product);

// As workspace_size and run_outer in convolution.h; in floats, 64-byte aligned.
int64_t bf16_outer_workspace_size(const TapOuter& product);
void run_bf16_outer(const TapOuter& product, float* workspace);

}  // namespace tw::kernels
