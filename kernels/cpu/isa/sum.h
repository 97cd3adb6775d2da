#pragma once

#include "kernels/cpu/strided_loop.h"
#include "tensor/view.h"

namespace tw::kernels {

// Both add the rows [first, last) that `rows` (one operand: x) enumerates; x points at the first element.
struct SumKernels {
  // The sum of `length` contiguous elements of every row.
  double (*across)(DType, const void* x, const StridedLoop& rows, int64_t first, int64_t last,
                   int64_t length);
  // The row of sums, `length` numbers of the type that is computed in (f64 for f64, else f32).
  void (*down)(DType, const void* x, const StridedLoop& rows, int64_t first, int64_t last, int64_t length,
               void* sums);
};

}  // namespace tw::kernels
