// Where the i-th element, in row-major order, of the arrays of a StridedLoop lies.
#pragma once

#include "kernels/cpu/strided_loop.h"
#include "kernels/cuda/library.h"

namespace tw::cuda {

template <int operands>
struct Offsets {
  int64_t at[operands];
};

template <int operands>
__device__ Offsets<operands> offsets_of(const kernels::StridedLoop& loop, int64_t i) {
  Offsets<operands> result{};
  for (int axis = loop.rank - 1; axis >= 0; --axis) {
    const int64_t rest = i / loop.extent[axis], index = i - rest * loop.extent[axis];
#pragma unroll
    for (int k = 0; k < operands; ++k) result.at[k] += index * loop.stride[k][axis];
    i = rest;
  }
  return result;
}

}  // namespace tw::cuda
