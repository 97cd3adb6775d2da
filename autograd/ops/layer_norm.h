// Layer normalisation over the last dimension (kernels/op/layer_norm.h). Saves x and two moments a row.
#pragma once

#include "autograd/var.h"

namespace tw {

// x (..., c), gamma and beta (c) or undefined -> like x: (x - mean) / sqrt(var + eps) * gamma + beta.
Var layer_norm(const Var& x, const Var& gamma, const Var& beta, double eps = 1e-5);

}  // namespace tw
