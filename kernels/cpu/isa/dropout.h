#pragma once

#include "kernels/op/dropout.h"

namespace tw::kernels {

struct DropoutKernels {
  // `count` elements, the first of which belongs to Philox block `block`.
  void (*run)(DType, double p, const RandomStream&, int64_t block, const void* x, void* y, int64_t count);
};

}  // namespace tw::kernels
