#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// One row of windows: `big` points at k rows of (columns k, c), `row` elements apart; `small` at (columns,
// c).
struct WindowKernels {
  void (*gather)(DType, int64_t k, double scale, const void* big, int64_t row, void* small, int64_t columns,
                 int64_t c);
  void (*spread)(DType, int64_t k, double scale, const void* small, void* big, int64_t row, int64_t columns,
                 int64_t c);
};

}  // namespace tw::kernels
