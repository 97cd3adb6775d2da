#pragma once

#include "tensor/view.h"

namespace tw::kernels {

struct AccumulateKernels {
  void (*run)(const View& x, const View& y, int64_t begin, int64_t end);
};

}  // namespace tw::kernels
