// Joining and cutting along one dimension (negative counts from the end). Any dtype; nothing is saved.
#pragma once

#include <vector>

#include "autograd/var.h"

namespace tw {

// The inputs one after another along `dim`; they agree in dtype and in every other extent.
Var concat(const std::vector<Var>& inputs, int dim);

// Elements [begin, end) of dimension `dim`. Where they are contiguous the result shares x's storage.
Var slice(const Var& x, int dim, int64_t begin, int64_t end);

// Consecutive slices of the given sizes, which must add up to the extent.
std::vector<Var> split(const Var& x, int dim, const std::vector<int64_t>& sizes);

}  // namespace tw
