// Attention (kernels/op/attention.h). Saves q, k, v and one number a row and head; the (tq, tk) matrix is
// never kept.
#pragma once

#include "autograd/var.h"
#include "kernels/op/attention.h"

namespace tw {

// q (n, tq, c), k and v (n, tk, c), c = heads * d -> (n, tq, c). mask, when defined: (tq, tk) or (n, tq, tk),
// u8, 1 where the query may attend.
Var attention(const Var& q, const Var& k, const Var& v, const kernels::AttentionParams& params,
              const Tensor& mask = {});

// Self-attention on the output of one projection: qkv (n, t, 3c), ordered [q | k | v] -> (n, t, c).
Var attention_packed(const Var& qkv, const kernels::AttentionParams& params);

// The same without a mask, made of basic ops: its definition and the tests' oracle. Keeps several
// (n, heads, tq, tk, d) tensors.
Var attention_composed(const Var& q, const Var& k, const Var& v, const kernels::AttentionParams& params);

}  // namespace tw
