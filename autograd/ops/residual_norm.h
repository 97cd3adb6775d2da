// l_i = || y_i - a_i ||_2 for every image of a batch, or its square (kernels/op/residual_norm.h). Saves y, a
// and l when a wants a gradient.
#pragma once

#include "autograd/var.h"
#include "kernels/op/residual_norm.h"

namespace tw {

// y, a: (n, ...) of one shape and dtype; y is a constant. Returns l (n), in f32, or f64 for f64.
Var residual_norm(const Tensor& y, const Var& a, kernels::ResidualKind kind = kernels::ResidualKind::norm);

}  // namespace tw
