#pragma once

#include "kernels/op/unary.h"

namespace tw::kernels {

// Elements [begin, end) of contiguous arrays of one dtype.
struct UnaryKernels {
  void (*forward)(const UnaryParams&, DType, const void* x, void* y, int64_t begin, int64_t end);
  void (*backward)(const UnaryParams&, DType, const void* saved, const void* dy, void* dx, int64_t begin,
                   int64_t end);
};

}  // namespace tw::kernels
