// Group (and instance) normalisation with an optional scale/shift and SiLU
// (kernels/op/group_norm_silu.h). Saves x and two moments a group; with frozen gamma and beta, backward
// computes nothing for them.
#pragma once

#include "autograd/var.h"
#include "kernels/op/group_norm_silu.h"

namespace tw {

// x (n, ..., c), gamma and beta (c) or undefined, scale_shift (n, 2c) or undefined -> y like x:
// y = [silu]((norm(x) gamma + beta) (1 + scale) + shift). `rest`, if defined, holds further channels: bit for
// bit the norm of concat({x, rest}, -1), which is neither made nor saved.
Var group_norm(const Var& x, const Var& gamma, const Var& beta, const kernels::GroupNormParams& params,
               const Var& scale_shift = {}, const Var& rest = {});

// The same made of basic ops, one for each step of the formula: its definition and the tests' oracle. Slow,
// and keeps every intermediate map for backward.
Var group_norm_composed(const Var& x, const Var& gamma, const Var& beta,
                        const kernels::GroupNormParams& params, const Var& scale_shift = {});

// Group normalisation with one channel a group (Ulyanov et al. 2016).
Var instance_norm(const Var& x, const Var& gamma, const Var& beta, double eps = 1e-5);

}  // namespace tw
