#pragma once

#include "kernels/cpu/strided_loop.h"
#include "kernels/op/binary.h"

namespace tw::kernels {

// Elements [begin, end) of contiguous y; the loop's operands are a, b, y.
struct BinaryKernels {
  void (*run)(Binary, const StridedLoop&, DType, const void* a, const void* b, void* y, int64_t begin,
              int64_t end);
};

}  // namespace tw::kernels
