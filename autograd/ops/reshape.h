// Changes of shape, order and type. Nothing is saved.
#pragma once

#include <vector>

#include "autograd/var.h"

namespace tw {

// The same elements in order; shares x's storage when x is contiguous. One extent may be -1: what is left.
Var reshape(const Var& x, const Shape& shape);
Var reshape(const Var& x, const std::vector<int64_t>& extents);

// Dimension i of the result is dimension order[i] of x; the result is a contiguous copy.
Var permute(const Var& x, const std::vector<int>& order);

// Between floating dtypes, rounding to nearest even; the gradient is cast back. x itself when nothing
// changes.
Var cast(const Var& x, DType dtype);

}  // namespace tw
