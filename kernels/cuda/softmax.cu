// Softmax over the last dimension, one block a row: maximum, sum, result; the row stays in the L1 cache.
#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/element.h"
#include "kernels/math/scalar.h"
#include "kernels/op/softmax.h"

namespace tw::cuda {
namespace {

template <class T>
__global__ void forward_kernel(const typename Element<T>::Memory* x, typename Element<T>::Memory* y,
                               int64_t c) {
  using E = Element<T>;
  using V = typename E::Value;
  x += blockIdx.x * c, y += blockIdx.x * c;
  const V lowest = -static_cast<V>(INFINITY);
  V largest = lowest, sum = 0;
  for (int64_t j = threadIdx.x; j < c; j += blockDim.x) largest = Larger<V>()(largest, E::load(x[j]));
  largest = over_block<Larger<V>>(largest, lowest);
  for (int64_t j = threadIdx.x; j < c; j += blockDim.x) sum += kernels::math::exp(E::load(x[j]) - largest);
  sum = over_block<Plus<V>>(sum, V(0));
  for (int64_t j = threadIdx.x; j < c; j += blockDim.x)
    y[j] = E::store(kernels::math::exp(E::load(x[j]) - largest) / sum);
}

template <class T>
__global__ void backward_kernel(const typename Element<T>::Memory* y, const typename Element<T>::Memory* dy,
                                typename Element<T>::Memory* dx, int64_t c) {
  using E = Element<T>;
  using V = typename E::Value;
  y += blockIdx.x * c, dy += blockIdx.x * c, dx += blockIdx.x * c;
  V sum = 0;
  for (int64_t j = threadIdx.x; j < c; j += blockDim.x) sum += E::load(y[j]) * E::load(dy[j]);
  sum = over_block<Plus<V>>(sum, V(0));
  for (int64_t j = threadIdx.x; j < c; j += blockDim.x)
    dx[j] = E::store(E::load(y[j]) * (E::load(dy[j]) - sum));
}

unsigned threads_for(int64_t c) { return c >= 1024 ? 256 : c >= 256 ? 128 : 32; }

}  // namespace

TW_CUDA_EXPORT tw_cuda_softmax_forward(const View* x, const View* y) {
  if (x->numel() == 0) return nullptr;
  const int64_t c = x->shape.back();
  return for_float("softmax_forward", x->dtype, [&]<class T>(T) {
    using Memory = typename Element<T>::Memory;
    launch(forward_kernel<T>, static_cast<unsigned>(x->numel() / c), threads_for(c),
           static_cast<const Memory*>(x->pointer), static_cast<Memory*>(y->pointer), c);
    return launched("softmax_forward");
  });
}

TW_CUDA_EXPORT tw_cuda_softmax_backward(const View* y, const View* dy, const View* dx) {
  if (y->numel() == 0) return nullptr;
  const int64_t c = y->shape.back();
  return for_float("softmax_backward", y->dtype, [&]<class T>(T) {
    using Memory = typename Element<T>::Memory;
    launch(backward_kernel<T>, static_cast<unsigned>(y->numel() / c), threads_for(c),
           static_cast<const Memory*>(y->pointer), static_cast<const Memory*>(dy->pointer),
           static_cast<Memory*>(dx->pointer), c);
    return launched("softmax_backward");
  });
}

}  // namespace tw::cuda
