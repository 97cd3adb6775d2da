// Strided copy with conversion: y[i] = x[i]. Concatenation, slicing, permutation and casts are copies.
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// x, y: the same shape, any dtypes and strides (x may be broadcast), not overlapping. Floats are rounded to
// nearest even; a conversion to an integer truncates.
void copy(const View& x, const View& y);

// y = value, with any dtype and strides.
void fill(double value, const View& y);

}  // namespace tw::kernels
