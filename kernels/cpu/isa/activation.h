#pragma once

#include "kernels/op/activation.h"

namespace tw::kernels {

// Elements [begin, end) of contiguous views that have been checked.
struct ActivationKernels {
  void (*forward)(const ActivationParams&, const View& x, const View& y, int64_t begin, int64_t end);
  void (*backward)(const ActivationParams&, const View& x, const View& dy, const View& dx, int64_t begin,
                   int64_t end);
};

}  // namespace tw::kernels
