// The second half of a convolution with few output channels, whose first half is one matrix product of every
// source pixel with the weights of all taps:
//   z(q, t, j) = sum_k x(q, k) w(t, k, j)
//   y(row, j)  = sum_t z(pixel(row, t), t, j)  + bias(j) + temb(sample, j) + residual(row, j)
#pragma once

#include <cstdint>

#include "kernels/cpu/isa/tap_gemm.h"

namespace tw::kernels {

struct TapSum {
  TapGemm product;  // its axes, output and terms; two axes, source steps 1, at most 4 channels
  const float* z;   // (source rows from first_row on, source columns, z_stride), 4 floats more at the end
  int64_t first_row, z_stride;
};

struct TapSumKernels {
  // Grid rows [row_begin, row_end) of a sample; `line` holds 4 floats a grid column.
  void (*run)(const TapSum&, int64_t sample, int64_t row_begin, int64_t row_end, float* line);
};

}  // namespace tw::kernels
