// Layer normalisation (Ba, Kiros & Hinton 2016, eq. 4) over the last dimension:
//   y = gamma xhat + beta,  xhat = (x - mean) rstd,  rstd = 1 / sqrt(var + eps)
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// x (..., c), f32, f64 or bf16; gamma, beta (c), each of which may be absent, f32 or bf16 (f64 if x is).
struct LayerNormInputs {
  View x, gamma, beta;
};

// Absent ones are not computed. dx like x; dgamma, dbeta (c) f32 (f64 for f64).
struct LayerNormGradients {
  View dx, dgamma, dbeta;
};

// Bytes of scratch for backward (64-byte aligned). Forward needs none.
int64_t layer_norm_backward_workspace_bytes(const Shape& x, DType dtype);

// All contiguous; y like x (may be x); mean, rstd: the shape of x without its last dimension, f32 (f64 for
// f64). eps must be positive. Throws Error naming the argument that is wrong.
void layer_norm_forward(const LayerNormInputs& in, double eps, const View& y, const View& mean,
                        const View& rstd);

// dy like x; dx may be dy. The order of every sum is fixed.
void layer_norm_backward(const LayerNormInputs& in, const View& mean, const View& rstd, const View& dy,
                         const LayerNormGradients& gradients, const View& workspace);

}  // namespace tw::kernels
