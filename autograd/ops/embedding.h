// y[i] = table[index[i]] (kernels/op/embedding.h). Saves the index when the table wants a gradient.
#pragma once

#include "autograd/var.h"

namespace tw {

// table (v, c), index (...) i32 or i64 in [0, v) -> (..., c). Throws when an index is out of range.
Var embedding(const Var& table, const Tensor& index);

}  // namespace tw
