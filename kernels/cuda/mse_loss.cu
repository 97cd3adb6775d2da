// The mean squared error of each image, and its gradient 2 dy (a - b) / elements.
#include "kernels/cuda/squared_distance.h"

namespace tw::cuda {
namespace {

template <class T>
__global__ void backward_kernel(const typename Element<T>::Memory* a, const typename Element<T>::Memory* b,
                                const typename Element<T>::Value* dy, int64_t size, int64_t n,
                                typename Element<T>::Memory* da) {
  using V = typename Element<T>::Value;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const V factor = static_cast<V>(2 * static_cast<double>(dy[i / size]) / static_cast<double>(size));
    da[i] = Element<T>::store(factor * (Element<T>::load(a[i]) - Element<T>::load(b[i])));
  }
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_mse_forward(const View* a, const View* b, const View* y) {
  const int64_t n = a->shape[0];
  const double scale = 1.0 / static_cast<double>(n ? a->numel() / n : 1);
  return squared_distances("mse_loss", *a, *b, scale, false, *y);
}

TW_CUDA_EXPORT tw_cuda_mse_backward(const View* a, const View* b, const View* dy, const View* da) {
  if (a->numel() == 0) return nullptr;
  return for_float("mse_backward", a->dtype, [&]<class T>(T) {
    using M = typename Element<T>::Memory;
    using V = typename Element<T>::Value;
    launch(backward_kernel<T>, blocks_for(a->numel()), threads, static_cast<const M*>(a->pointer),
           static_cast<const M*>(b->pointer), static_cast<const V*>(dy->pointer), a->numel() / a->shape[0],
           a->numel(), static_cast<M*>(da->pointer));
    return launched("mse_backward");
  });
}

}  // namespace tw::cuda
