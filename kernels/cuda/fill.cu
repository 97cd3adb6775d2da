// y = value, for every dtype of a tensor.
#include "kernels/cuda/element.h"
#include "kernels/cuda/library.h"

namespace tw::cuda {
namespace {

template <class T>
__global__ void fill_kernel(T* to, int64_t n, T value) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride)
    to[i] = value;
}

template <class T>
const char* fill(void* to, int64_t n, T value) {
  launch(fill_kernel<T>, blocks_for(n), threads, static_cast<T*>(to), n, value);
  return launched("fill");
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_fill(void* to, int dtype, int64_t n, double value) {
  if (n == 0) return nullptr;
  switch (static_cast<DType>(dtype)) {
    case DType::f32:
      return fill(to, n, static_cast<float>(value));
    case DType::f64:
      return fill(to, n, value);
    case DType::bf16:
      return fill(to, n, Element<bf16>::store(static_cast<float>(value)));
    case DType::f16:
      return fill(to, n, Element<f16>::store(static_cast<float>(value)));
    case DType::i32:
      return fill(to, n, static_cast<int32_t>(value));
    case DType::i64:
      return fill(to, n, static_cast<int64_t>(value));
    case DType::u8:
      return fill(to, n, static_cast<uint8_t>(value));
  }
  return unsupported("fill", dtype);
}

}  // namespace tw::cuda
