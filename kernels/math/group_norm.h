// The formulas of group normalisation (+ SiLU) for one value or one vector of values, with everything that is
// constant over a sample's channel folded into coefficients:
//   forward   z = a x + b,  a = rstd gamma (1 + s),  b = (beta - mean rstd gamma) (1 + s) + t
//   backward  dx = p dz + q x + r   (see docs/handbook/group_norm_silu.md)
#pragma once

#include "kernels/math/activation.h"

namespace tw::kernels::math {

template <bool with_silu, class V>
TW_HD V group_norm_output(V x, V a, V b) {
  const V z = fma(a, x, b);
  if constexpr (with_silu)
    return silu(z);
  else
    return z;
}

// dL/dz from dL/dy.
template <bool with_silu, class V>
TW_HD V group_norm_dz(V dy, V x, V a, V b) {
  if constexpr (with_silu)
    return dy * silu_derivative(fma(a, x, b));
  else
    return dy;
}

}  // namespace tw::kernels::math
