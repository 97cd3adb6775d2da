#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// Elements [begin, end) of a contiguous view.
struct SquareSumKernels {
  double (*square_sum)(const View& x, int64_t begin, int64_t end);
  bool (*all_finite)(const View& x, int64_t begin, int64_t end);
};

}  // namespace tw::kernels
