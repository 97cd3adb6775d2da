// Elementwise functions of one tensor: y = f(x), and dx = dy f'(x).
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// affine: a x + b.  clamp: min(max(x, a), b); its derivative is 1 where a <= x <= b, as in PyTorch.
// abs has derivative 0 at 0.
enum class Unary { affine, exp, log, sqrt, square, abs, clamp };
const char* unary_name(Unary kind);

struct UnaryParams {
  Unary kind = Unary::affine;
  double a = 1, b = 0;
};

// Whether the derivative is computed from y (exp, sqrt), from x, or from neither (affine).
enum class UnarySaves { nothing, x, y };
UnarySaves unary_saves(Unary kind);

// x, y: the same shape and dtype (f32, f64 or bf16), contiguous. y may be x.
void unary_forward(const UnaryParams& params, const View& x, const View& y);

// saved: what unary_saves names (ignored for affine, but it must have dy's shape: dy itself will do).
// saved, dy, dx: the same shape and dtype, contiguous. dx may be dy or saved.
void unary_backward(const UnaryParams& params, const View& saved, const View& dy, const View& dx);

}  // namespace tw::kernels
