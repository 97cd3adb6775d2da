// Formulas of one sampler update, for one value or one vector of values V (float, double, Vec<T>).
#pragma once

#include "kernels/math/scalar.h"

namespace tw::kernels::math {

// u = p x + q o, the clean image before clipping. A nested fma fixes the rounding for every loop it is used
// in.
template <class V>
TW_HD V unclipped_x0(V p, V q, V x, V o) {
  return fma(p, x, q * o);
}

template <class V>
TW_HD V clip(V u, V limit) {
  return min(max(u, -limit), limit);
}

}  // namespace tw::kernels::math
