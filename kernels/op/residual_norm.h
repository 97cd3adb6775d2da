// The data term of guided sampling, one number per image: l_i = || y_i - a_i ||_2 or its square.
//
//   norm:     l = sqrt(sum r^2),  da = -dl r / l  (0 where l = 0)
//   squared:  l = sum r^2,        da = -2 dl r                      with r = y - a
//
// Per image, not per batch: a norm over a batch of B would weaken the guidance of each image by about
// 1/sqrt(B).
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

enum class ResidualKind { norm, squared };

// y, a: (n, ...) of one shape and dtype (f32, f64 or bf16), contiguous; loss: (n) of f32, or f64 for f64.
// Squares are summed in f32 within 512 elements and in f64 across, in a fixed order.
void residual_norm_forward(ResidualKind kind, const View& y, const View& a, const View& loss);

// dloss, loss: (n); da as a. da may be a.
void residual_norm_backward(ResidualKind kind, const View& y, const View& a, const View& loss,
                            const View& dloss, const View& da);

}  // namespace tw::kernels
