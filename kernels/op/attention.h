// Scaled dot-product attention (Vaswani et al. 2017, eq. 1), all heads of all samples in one op:
//   o = softmax(scale q k^T + log mask) v      per sample and head
//
// q (n, tq, heads d), k and v (n, tk, heads d): head h has the channels [h d, (h + 1) d). They may be views
// into one packed (n, t, 3 heads d) tensor: the strides of n and t are free, the last dimension is dense.
// Nothing is transposed or copied in memory, and the (tq, tk) matrix is never a tensor.
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

struct AttentionParams {
  int64_t heads = 1;  // divides the channels
  double scale = 0;   // of q k^T; 0 means 1 / sqrt(d)
};

// f32, f64 or bf16 (on CUDA f16), one dtype, on one device; CUDA needs no workspace. mask, which may be
// absent: (tq, tk) or (n, tq, tk), u8, contiguous, 1 where the query may attend to the key. A query that may
// attend to nothing gives zeros.
struct AttentionInputs {
  View q, k, v, mask;
};

// Absent ones are not computed. Like q, k and v, with strides of their own.
struct AttentionGradients {
  View dq, dk, dv;
};

// Bytes of scratch for the shapes of q and k (64-byte aligned). Depends on the thread count.
int64_t attention_forward_workspace_bytes(const AttentionParams& params, const Shape& q, const Shape& k,
                                          DType dtype);
int64_t attention_backward_workspace_bytes(const AttentionParams& params, const Shape& q, const Shape& k,
                                           DType dtype);

// o like q; log_sum_exp (n, heads, tq), f32 (f64 for f64), is what backward needs besides the inputs.
// Throws Error naming the argument whose shape, dtype or layout is wrong.
void attention_forward(const AttentionParams& params, const AttentionInputs& in, const View& o,
                       const View& log_sum_exp, const View& workspace);

// d_o like o. Recomputes the probabilities from q, k and log_sum_exp.
void attention_backward(const AttentionParams& params, const AttentionInputs& in, const View& log_sum_exp,
                        const View& d_o, const AttentionGradients& gradients, const View& workspace);

// Floating-point operations: 2 products of tq tk d a head forward, 5 backward.
double attention_forward_flops(const Shape& q, const Shape& k);

}  // namespace tw::kernels
