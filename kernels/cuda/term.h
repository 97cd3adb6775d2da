// Something that is added to a result, of whatever float type: a bias, a time embedding, a residual.
#pragma once

#include "kernels/cuda/element.h"
#include "tensor/view.h"

namespace tw::cuda {

struct Term {
  const void* pointer;  // null: there is none
  DType dtype;

  explicit Term(const View& view) : pointer(view.pointer), dtype(view.dtype) {}

  template <class V>
  __device__ V at(int64_t i) const {
    switch (dtype) {
      case DType::f64:
        return static_cast<V>(static_cast<const double*>(pointer)[i]);
      case DType::bf16:
        return __bfloat162float(static_cast<const __nv_bfloat16*>(pointer)[i]);
      case DType::f16:
        return __half2float(static_cast<const __half*>(pointer)[i]);
      default:
        return static_cast<const float*>(pointer)[i];
    }
  }
};

}  // namespace tw::cuda
