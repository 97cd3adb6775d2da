// Sums and means over any set of dimensions (negative ones count from the end; none given means all, with a
// result of shape () unless keep_dims). f32, f64 or bf16; the result has x's dtype. The order of addition
// depends on the shape only. Saves nothing.
#pragma once

#include <vector>

#include "autograd/var.h"

namespace tw {

Var sum(const Var& x, const std::vector<int>& dims = {}, bool keep_dims = false);
Var mean(const Var& x, const std::vector<int>& dims = {}, bool keep_dims = false);

// scale * the sum of contiguous x over the dimensions in which `kept` (of x's rank) has extent 1.
Tensor sum_over(const Tensor& x, const Shape& kept, double scale);

}  // namespace tw
