// y = f(x), one thread an element, the formulas of kernels/math/activation.h. SiLU only so far.
#include "kernels/cuda/element.h"
#include "kernels/cuda/library.h"
#include "kernels/math/activation.h"
#include "kernels/op/activation.h"

namespace tw::cuda {
namespace {

template <class T>
__global__ void silu_kernel(const typename Element<T>::Memory* x, typename Element<T>::Memory* y, int64_t n) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride)
    y[i] = Element<T>::store(kernels::math::silu(Element<T>::load(x[i])));
}

template <class T>
const char* silu(const void* x, void* y, int64_t n) {
  using Memory = typename Element<T>::Memory;
  silu_kernel<T><<<blocks_for(n), threads>>>(static_cast<const Memory*>(x), static_cast<Memory*>(y), n);
  TW_CUDA_TRY(cudaGetLastError());
  return nullptr;
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_activation_forward(int kind, int dtype, const void* x, void* y, int64_t n) {
  if (static_cast<kernels::Activation>(kind) != kernels::Activation::silu)
    return "only SiLU is there on CUDA yet";
  if (n == 0) return nullptr;
  switch (static_cast<DType>(dtype)) {
    case DType::f32:
      return silu<float>(x, y, n);
    case DType::f64:
      return silu<double>(x, y, n);
    case DType::bf16:
      return silu<bf16>(x, y, n);
    case DType::f16:
      return silu<f16>(x, y, n);
    default:
      return unsupported("activation", dtype);
  }
}

}  // namespace tw::cuda
