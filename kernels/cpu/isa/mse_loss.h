#pragma once

#include "tensor/view.h"

namespace tw::kernels {

struct MseKernels {
  // The sum of (a - b)^2 over `count` elements.
  double (*sum)(DType, const void* a, const void* b, int64_t count);
  // da = factor (a - b)
  void (*backward)(DType, double factor, const void* a, const void* b, void* da, int64_t count);
};

}  // namespace tw::kernels
