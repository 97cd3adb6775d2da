// Group normalisation (Wu & He 2018, eq. 1-2), with an optional per-sample scale and shift (the "AdaGN" of
// Dhariwal & Nichol 2021, section 3) and an optional SiLU, as one op:
//   xhat = (x - mean) rstd               mean, rstd = 1 / sqrt(var + eps) over a sample's pixels and a
//   z = (gamma xhat + beta) (1 + s) + t  group's channels; (s, t) is the sample's row of scale_shift
//   y = z, or silu(z) = z / (1 + e^-z)
//
// Instance normalisation is the case groups = c.
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

struct GroupNormParams {
  int64_t groups = 32;  // divides c; channel j belongs to group j / (c / groups)
  double eps = 1e-5;
  bool silu = false;
};

// The inputs of both passes. x (n, ..., c) contiguous, f32, f64 or bf16; gamma, beta (c) and scale_shift
// (n, 2c), scale first, may each be absent (1, 0, none) and may be f32 or bf16 beside x in f32 or bf16; all
// are f64 if x is. x may come in two parts, its last channels in `x_rest` (n, ..., c - those of x): what a
// U-Net's decoder would concatenate is then never made.
struct GroupNormInputs {
  View x, gamma, beta, scale_shift;
  View x_rest = {};
};

// Gradients; those that are absent are not computed, and cost nothing. dgamma and dbeta are f32 (f64 for
// f64), dx and dscale_shift have the dtype of x and of scale_shift. dx_rest is wanted if dx is.
struct GroupNormGradients {
  View dx, dgamma, dbeta, dscale_shift;
  View dx_rest = {};
};

// Bytes of scratch that either pass needs (64-byte aligned, no initialisation); x: both parts together.
int64_t group_norm_silu_workspace_bytes(const GroupNormParams& params, const Shape& x, DType dtype);

// y like x, both parts together (may be x if that is all); mean, rstd (n, groups), f32 (f64 for f64), are
// what backward needs besides the inputs. Throws Error naming the argument whose shape, dtype or layout is
// wrong.
void group_norm_silu_forward(const GroupNormParams& params, const GroupNormInputs& in, const View& y,
                             const View& mean, const View& rstd, const View& workspace);

// dy like y; dx may be dy if x is in one part. Recomputes xhat and z from x and the two moments.
void group_norm_silu_backward(const GroupNormParams& params, const GroupNormInputs& in, const View& mean,
                              const View& rstd, const View& dy, const GroupNormGradients& gradients,
                              const View& workspace);

}  // namespace tw::kernels
