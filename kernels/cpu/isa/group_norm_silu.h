#pragma once

#include "kernels/op/group_norm_silu.h"

namespace tw::kernels {

// One call of the op. x is seen as (n, pixels, c); a sample's pixels are cut into chunks, whose size depends
// on c alone, so that sums do not depend on how chunks are dealt to threads.
struct GroupNormJob {
  GroupNormParams params;
  GroupNormInputs in;
  View y, mean, rstd, dy;
  GroupNormGradients gradients;
  int64_t n = 0, pixels = 0, c = 0, chunk_pixels = 0, chunks = 0;
  int64_t c_first = 0;           // channels of x; the other c - c_first are those of x_rest
  void* partial = nullptr;       // (n, chunks, 2, c): two sums a channel
  void* coefficients = nullptr;  // (n, 4, c): what a pass over the pixels needs of each channel
  double* totals = nullptr;      // (n, 2, c): a sample's sums of dz and of dz xhat
};

// Calls with disjoint (sample, chunks) may run at the same time. Each pass is: sums of all chunks, then
// `reduce` of the sample, then `apply` to all chunks.
struct GroupNormKernels {
  void (*forward_sums)(const GroupNormJob&, int64_t sample, int64_t begin, int64_t end);
  void (*forward_reduce)(const GroupNormJob&, int64_t sample);
  void (*forward_apply)(const GroupNormJob&, int64_t sample, int64_t begin, int64_t end);
  void (*backward_prepare)(const GroupNormJob&, int64_t sample);  // before the sums
  void (*backward_sums)(const GroupNormJob&, int64_t sample, int64_t begin, int64_t end);
  void (*backward_reduce)(const GroupNormJob&, int64_t sample);
  void (*backward_apply)(const GroupNormJob&, int64_t sample, int64_t begin, int64_t end);
  void (*backward_parameters)(const GroupNormJob&);  // after every sample's reduce
};

}  // namespace tw::kernels
