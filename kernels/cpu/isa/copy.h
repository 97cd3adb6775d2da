#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// Contiguous conversions that the cast between training and storage types lives on.
struct CastKernels {
  void (*to_bf16)(const float* x, bf16* y, int64_t count);
  void (*from_bf16)(const bf16* x, float* y, int64_t count);
};

}  // namespace tw::kernels
