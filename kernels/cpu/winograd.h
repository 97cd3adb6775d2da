// Threads, blocks and scratch memory of Winograd convolution (cpu/isa/winograd.h). Sizes are in floats.
#pragma once

#include "kernels/cpu/isa/winograd.h"
#include "kernels/cpu/isa/winograd_gradient.h"

namespace tw::kernels {

int64_t packed_size(const WinogradConv& conv);
void pack_weights(const WinogradConv& conv, const WinogradWeight& weight, float* packed);
int64_t workspace_size(const WinogradConv& conv);
void run_winograd(const WinogradConv& conv, float* workspace);

int64_t gradient_workspace_size(const WinogradConv& conv);
void run_winograd_gradient(WinogradGradient gradient, float* workspace);

}  // namespace tw::kernels
