#pragma once

#include "kernels/op/layer_norm.h"

namespace tw::kernels {

// One call, checked.
struct LayerNormJob {
  View x, gamma, beta, mean, rstd, y, dy;
  LayerNormGradients gradients;
  int64_t rows = 0, c = 0;
  double eps = 0;
};

// Rows [begin, end). `partial` (2, c) receives the rows' sums of dy xhat and of dy; it may be null when
// neither is wanted.
struct LayerNormKernels {
  void (*forward)(const LayerNormJob&, int64_t begin, int64_t end);
  void (*backward)(const LayerNormJob&, int64_t begin, int64_t end, void* partial);
};

}  // namespace tw::kernels
