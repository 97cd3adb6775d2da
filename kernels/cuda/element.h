// How an element in memory becomes the value that is computed with: 16-bit floats are widened to f32.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <type_traits>

#include "kernels/cuda/library.h"
#include "tensor/dtype.h"

namespace tw::cuda {

template <class T>
struct Element {  // f32, f64
  using Memory = T;
  using Value = T;
  static __host__ __device__ Value load(Memory memory) { return memory; }
  static __host__ __device__ Memory store(Value value) { return value; }
};
template <>
struct Element<bf16> {
  using Memory = __nv_bfloat16;
  using Value = float;
  static __host__ __device__ Value load(Memory memory) { return __bfloat162float(memory); }
  static __host__ __device__ Memory store(Value value) { return __float2bfloat16_rn(value); }
};
template <>
struct Element<f16> {
  using Memory = __half;
  using Value = float;
  static __host__ __device__ Value load(Memory memory) { return __half2float(memory); }
  static __host__ __device__ Memory store(Value value) { return __float2half_rn(value); }
};

// Calls f(T{}) with the type that `dtype` names among the floats; f returns what the exported function does.
template <class F>
const char* for_float(const char* op, DType dtype, F f) {
  return visit(dtype, [&]<class T>(T value) {
    if constexpr (std::is_integral_v<T>)
      return unsupported(op, static_cast<int>(dtype));
    else
      return f(value);
  });
}

}  // namespace tw::cuda
