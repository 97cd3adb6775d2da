#pragma once

#include "kernels/op/adam.h"

namespace tw::kernels {

// Elements [begin, end) of checked tensors.
struct AdamKernels {
  void (*run)(const AdamParams&, const AdamTensors&, int64_t begin, int64_t end);
};

}  // namespace tw::kernels
