// l = ||y - a||^2 or its root for each image, and its gradient.
#include "kernels/cuda/squared_distance.h"
#include "kernels/op/residual_norm.h"

namespace tw::cuda {
namespace {

template <class T>
__global__ void backward_kernel(const typename Element<T>::Memory* y, const typename Element<T>::Memory* a,
                                const typename Element<T>::Value* loss,
                                const typename Element<T>::Value* dloss, bool root, int64_t size, int64_t n,
                                typename Element<T>::Memory* da) {
  using V = typename Element<T>::Value;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const V l = loss[i / size], dl = dloss[i / size];
    const V factor = !root ? -2 * dl : l > V(0) ? -dl / l : V(0);
    da[i] = Element<T>::store(factor * (Element<T>::load(y[i]) - Element<T>::load(a[i])));
  }
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_residual_norm_forward(const kernels::ResidualKind* kind, const View* y, const View* a,
                                             const View* loss) {
  return squared_distances("residual_norm", *y, *a, 1, *kind == kernels::ResidualKind::norm, *loss);
}

TW_CUDA_EXPORT tw_cuda_residual_norm_backward(const kernels::ResidualKind* kind, const View* y, const View* a,
                                              const View* loss, const View* dloss, const View* da) {
  return for_float("residual_norm_backward", a->dtype, [&]<class T>(T) {
    using M = typename Element<T>::Memory;
    using V = typename Element<T>::Value;
    launch(backward_kernel<T>, blocks_for(a->numel()), threads, static_cast<const M*>(y->pointer),
           static_cast<const M*>(a->pointer), static_cast<const V*>(loss->pointer),
           static_cast<const V*>(dloss->pointer), *kind == kernels::ResidualKind::norm,
           a->numel() / a->shape[0], a->numel(), static_cast<M*>(da->pointer));
    return launched("residual_norm_backward");
  });
}

}  // namespace tw::cuda
