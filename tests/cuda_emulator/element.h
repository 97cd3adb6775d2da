// Elements of the vendor libraries' types, read and written as double.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <library_types.h>

#include <cstdint>

namespace emulator {

inline double load(cudaDataType_t type, const void* array, int64_t i) {
  switch (type) {
    case CUDA_R_64F:
      return static_cast<const double*>(array)[i];
    case CUDA_R_16BF:
      return __bfloat162float(static_cast<const __nv_bfloat16*>(array)[i]);
    case CUDA_R_16F:
      return __half2float(static_cast<const __half*>(array)[i]);
    default:
      return static_cast<const float*>(array)[i];
  }
}

inline void store(cudaDataType_t type, void* array, int64_t i, double value) {
  switch (type) {
    case CUDA_R_64F:
      static_cast<double*>(array)[i] = value;
      return;
    case CUDA_R_16BF:
      static_cast<__nv_bfloat16*>(array)[i] = __float2bfloat16_rn(static_cast<float>(value));
      return;
    case CUDA_R_16F:
      static_cast<__half*>(array)[i] = __float2half_rn(static_cast<float>(value));
      return;
    default:
      static_cast<float*>(array)[i] = static_cast<float>(value);
  }
}

}  // namespace emulator
