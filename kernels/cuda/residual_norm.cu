// l = ||y - a||^2 or its root for each image, and its gradient. Sums: a thread adds every 256th element in
// f32 (f64), the threads of a block and then the blocks of an image are added in order, the latter in f64.
#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/scratch.h"
#include "kernels/op/residual_norm.h"

namespace tw::cuda {
namespace {

constexpr int64_t chunk = 4096;  // elements of a block

template <class T>
__global__ void chunk_sums(const typename Element<T>::Memory* y, const typename Element<T>::Memory* a,
                           int64_t size, double* partial) {
  using V = typename Element<T>::Value;
  const int64_t begin = blockIdx.x * chunk, end = begin + chunk < size ? begin + chunk : size;
  y += blockIdx.y * size, a += blockIdx.y * size;
  V sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    const V r = Element<T>::load(y[i]) - Element<T>::load(a[i]);
    sum += r * r;
  }
  const double total = over_block<Plus<double>>(static_cast<double>(sum), 0.0);
  if (threadIdx.x == 0) partial[int64_t{blockIdx.y} * gridDim.x + blockIdx.x] = total;
}

// Statistic: the type of the loss.
template <class Statistic>
__global__ void add_chunks(const double* partial, int64_t chunks, int64_t n, bool root, Statistic* loss) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  double sum = 0;
  for (int64_t k = 0; k < chunks; ++k) sum += partial[i * chunks + k];
  loss[i] = static_cast<Statistic>(root ? sqrt(sum) : sum);
}

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
  return caught([&] {
    const int64_t n = a->shape[0], size = n > 0 ? a->numel() / n : 0, chunks = (size + chunk - 1) / chunk;
    if (n == 0) return;
    check(n <= 65535, "residual_norm", "at most 65535 images on CUDA, found ", n);
    const Scratch memory("residual_norm", static_cast<size_t>(n * chunks) * sizeof(double));
    double* partial = static_cast<double*>(memory.get());
    require(for_float("residual_norm", a->dtype, [&]<class T>(T) {
      using M = typename Element<T>::Memory;
      const dim3 blocks(static_cast<unsigned>(chunks), static_cast<unsigned>(n));
      if (chunks > 0)
        launch(chunk_sums<T>, blocks, threads, static_cast<const M*>(y->pointer),
               static_cast<const M*>(a->pointer), size, partial);
      if (const char* text = launched("chunk_sums")) return text;
      using V = typename Element<T>::Value;
      launch(add_chunks<V>, static_cast<unsigned>((n + threads - 1) / threads), threads, partial, chunks, n,
             *kind == kernels::ResidualKind::norm, static_cast<V*>(loss->pointer));
      return launched("add_chunks");
    }));
  });
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
