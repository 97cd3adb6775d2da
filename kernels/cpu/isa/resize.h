#pragma once

#include "tensor/view.h"

namespace tw::kernels {

struct ResizeKernels {
  // y = the sum of weight[t] times row t of x, `taps` rows of `inner` elements one after another.
  void (*run)(DType x_type, DType y_type, const void* x, const double* weight, int64_t taps, void* y,
              int64_t inner);
};

}  // namespace tw::kernels
