#pragma once

#include "kernels/op/softmax.h"

namespace tw::kernels {

// Rows [begin, end) of contiguous views that have been checked.
struct SoftmaxKernels {
  void (*forward)(const View& x, const View& y, int64_t begin, int64_t end);
  void (*backward)(const View& y, const View& dy, const View& dx, int64_t begin, int64_t end);
};

}  // namespace tw::kernels
