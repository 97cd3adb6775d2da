#pragma once

#include "kernels/op/residual_norm.h"

namespace tw::kernels {

// Elements [begin, end) of contiguous views that have been checked; all of one sample.
struct ResidualNormKernels {
  double (*sum_of_squares)(const View& y, const View& a, int64_t begin, int64_t end);
  void (*backward)(double factor, const View& y, const View& a, const View& da, int64_t begin, int64_t end);
};

}  // namespace tw::kernels
