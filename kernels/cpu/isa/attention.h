#pragma once

#include "kernels/op/attention.h"

namespace tw::kernels {

// A query block is this many rows: enough to use each panel of k several times from L1.
constexpr int64_t attention_block = 32;

// One call of the op. A pair is a sample and a head: sample * heads + head.
struct AttentionJob {
  AttentionInputs in;
  View o, log_sum_exp, d_o;
  AttentionGradients gradients;
  int64_t heads = 0, tq = 0, tk = 0, d = 0;
  int64_t row = 0;  // tk rounded up: the length of a row of scores in scratch
  double scale = 0;
};

// Scratch is typed as the dtype's arithmetic: float for f32 and bf16, double for f64.
struct AttentionKernels {
  // out (row / width, d, width): the pair's rows of k (or v) transposed into panels of `width` tokens.
  void (*pack)(const AttentionJob&, const View& rows, int64_t pair, void* out);
  // One query block of o; scratch holds block * (d + row).
  void (*forward)(const AttentionJob&, int64_t pair, int64_t block, const void* k_panels, void* scratch);
  // One query block of probabilities p and of score gradients ds, both (tq, row), and of dq; scratch 2 block
  // d.
  void (*backward_queries)(const AttentionJob&, int64_t pair, int64_t block, const void* k_panels,
                           const void* v_panels, void* p, void* ds, void* scratch);
  // One key block of dk = ds^T q and dv = p^T d_o.
  void (*backward_keys)(const AttentionJob&, int64_t pair, int64_t block, const void* p, const void* ds);
};

}  // namespace tw::kernels
