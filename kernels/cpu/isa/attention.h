#pragma once

#include "kernels/op/attention.h"

namespace tw::kernels {

// Rows of queries (or, for dk and dv, of keys) worked on together: enough to use a panel several times from
// L1. Panels are at most this wide, so that scratch does not depend on the instruction set.
constexpr int64_t attention_block = 32;
constexpr int64_t widest_panel = 32;
// Keys whose scores are finished while they are in L1: 32 x 128 numbers.
constexpr int64_t attention_tile = 128;
constexpr int64_t attention_matrix_bytes = 512
                                           << 10;  // of p, and as much of ds, a backward pass keeps at once

struct TokenRange {
  int64_t begin, end;
};

// One call of the op. A pair is a sample and a head: sample * heads + head.
struct AttentionJob {
  AttentionInputs in;
  View o, log_sum_exp, d_o;
  AttentionGradients gradients;
  int64_t heads = 0, tq = 0, tk = 0, d = 0;
  int64_t row = 0;    // length of a row of scores in scratch: tk rounded up, and never a power of two
  int64_t width = 0;  // d rounded up to whole panels
  double scale = 0;
};

// Scratch is typed as the dtype's arithmetic: float for f32 and bf16, double for f64.
struct AttentionKernels {
  // The pair's rows of k (or v) transposed: panels of some tokens each, (panels, d, tokens).
  void (*pack_columns)(const AttentionJob&, const View& rows, int64_t pair, void* out);
  // The pair's rows of q, k, v or d_o in panels of some channels each, (panels, t, channels).
  void (*pack_rows)(const AttentionJob&, const View& rows, int64_t pair, TokenRange tokens, void* out);
  // One query block of o; scratch holds block (d + row + width).
  void (*forward)(const AttentionJob&, int64_t pair, int64_t block, const void* k_columns, const void* v_rows,
                  void* scratch);
  // The queries [first, first + block), up to queries.end, of dq, and of p and of the score gradients ds:
  // both (queries, row). Scratch block (2 d + width). v_columns are only read for dq and dk, k_rows for dq.
  void (*backward_queries)(const AttentionJob&, int64_t pair, TokenRange queries, int64_t first,
                           const void* k_columns, const void* v_columns, const void* k_rows, void* p,
                           void* ds, void* scratch);
  // sum (block, width), of one key block, += matrix^T from; the last of the queries store it in `to`. rows
  // are those of `from`, packed for `queries`.
  void (*backward_keys)(const AttentionJob&, int64_t pair, TokenRange queries, int64_t block,
                        const void* matrix, const void* rows, const View& to, void* sum);
};

}  // namespace tw::kernels
