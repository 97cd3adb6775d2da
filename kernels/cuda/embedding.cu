// y[i] = table[index[i]], one thread an element, and the table's gradient: a thread adds the rows of dy that
// have its entry, in their order, so there are no atomics. The host cannot look at the indices: the rows of
// one that is out of range are NaN.
#include "kernels/cuda/element.h"
#include "tensor/view.h"

namespace tw::cuda {
namespace {

template <class T, class Index>
__global__ void rows_kernel(const typename Element<T>::Memory* table, const Index* index, int64_t entries,
                            int64_t c, int64_t n, typename Element<T>::Memory* y) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const int64_t entry = index[i / c];
    const bool there = entry >= 0 && entry < entries;
    y[i] = there ? table[entry * c + i % c]
                 : Element<T>::store(static_cast<typename Element<T>::Value>(__builtin_nanf("")));
  }
}

template <class T, class Index>
__global__ void gradient_kernel(const Index* index, const typename Element<T>::Memory* dy, int64_t rows,
                                int64_t c, int64_t n, typename Element<T>::Value* dtable) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    typename Element<T>::Value sum = 0;
    for (int64_t row = 0; row < rows; ++row)
      if (index[row] == i / c) sum += Element<T>::load(dy[row * c + i % c]);
    dtable[i] = sum;
  }
}

// Calls f with the indices as int32_t or int64_t.
template <class F>
const char* for_index(const View& index, F f) {
  return index.dtype == DType::i64 ? f(static_cast<const int64_t*>(index.pointer))
                                   : f(static_cast<const int32_t*>(index.pointer));
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_embedding_forward(const View* table, const View* index, const View* y) {
  if (y->numel() == 0) return nullptr;
  return for_float("embedding_forward", table->dtype, [&]<class T>(T) {
    using M = typename Element<T>::Memory;
    return for_index(*index, [&]<class Index>(const Index* entries) {
      launch(rows_kernel<T, Index>, blocks_for(y->numel()), threads, static_cast<const M*>(table->pointer),
             entries, table->shape[0], table->shape[1], y->numel(), static_cast<M*>(y->pointer));
      return launched("embedding_forward");
    });
  });
}

TW_CUDA_EXPORT tw_cuda_embedding_backward(const View* index, const View* dy, const View* dtable) {
  if (dtable->numel() == 0) return nullptr;
  return for_float("embedding_backward", dy->dtype, [&]<class T>(T) {
    using M = typename Element<T>::Memory;
    return for_index(*index, [&]<class Index>(const Index* entries) {
      launch(gradient_kernel<T, Index>, blocks_for(dtable->numel()), threads, entries,
             static_cast<const M*>(dy->pointer), index->numel(), dtable->shape[1], dtable->numel(),
             static_cast<typename Element<T>::Value*>(dtable->pointer));
      return launched("embedding_backward");
    });
  });
}

}  // namespace tw::cuda
