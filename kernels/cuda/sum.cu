// y = scale * sum of x over some dimensions. What one output sums is cut into chunks of a fixed size: f32
// (f64) within a chunk, f64 from chunk to chunk, in order. A chunk is a block's where the innermost dimension
// is summed, whose elements lie together, else a thread's, whose neighbours have the neighbouring outputs.
#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/scratch.h"
#include "kernels/cuda/strided.h"
#include "tensor/view.h"

namespace tw::cuda {
namespace {

using kernels::StridedLoop;

constexpr int64_t block_chunk = 4096, thread_chunk = 64;

// kept: x's strides for every output; summed: those of what an output sums.
template <class T>
__global__ void block_chunks(StridedLoop kept, StridedLoop summed, int64_t chunks,
                             const typename Element<T>::Memory* x, double* partial) {
  using V = typename Element<T>::Value;
  const int64_t begin = blockIdx.x % chunks * block_chunk;
  const int64_t end = begin + block_chunk < summed.numel ? begin + block_chunk : summed.numel;
  x += offsets_of<1>(kept, blockIdx.x / chunks).at[0];
  V sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x)
    sum += Element<T>::load(x[offsets_of<1>(summed, i).at[0]]);
  const double total = over_block<Plus<double>>(static_cast<double>(sum), 0.0);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// partial (chunks, outputs).
template <class T>
__global__ void thread_chunks(StridedLoop kept, StridedLoop summed, int64_t chunks,
                              const typename Element<T>::Memory* x, double* partial) {
  using V = typename Element<T>::Value;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x, n = kept.numel * chunks;
  for (int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; k < n; k += step) {
    const int64_t begin = k / kept.numel * thread_chunk;
    const int64_t end = begin + thread_chunk < summed.numel ? begin + thread_chunk : summed.numel;
    const auto* from = x + offsets_of<1>(kept, k % kept.numel).at[0];
    V sum = 0;
    for (int64_t i = begin; i < end; ++i) sum += Element<T>::load(from[offsets_of<1>(summed, i).at[0]]);
    partial[k] = static_cast<double>(sum);
  }
}

template <class To>
__global__ void add_chunks(const double* partial, int64_t chunks, int64_t stride, int64_t output_stride,
                           int64_t n, double scale, typename Element<To>::Memory* y) {
  using V = typename Element<To>::Value;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    double total = 0;
    for (int64_t k = 0; k < chunks; ++k) total += partial[i * output_stride + k * stride];
    y[i] = Element<To>::store(static_cast<V>(scale * total));
  }
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_sum(const StridedLoop* kept, const StridedLoop* summed, const bool* along,
                           const View* x, const double* scale, const View* y) {
  return caught([&] {
    const int64_t n = kept->numel;
    if (n == 0) return;
    const bool by_block = *along && summed->numel > thread_chunk;
    const int64_t size = by_block ? block_chunk : thread_chunk, chunks = (summed->numel + size - 1) / size;
    check(!by_block || n * chunks <= INT32_MAX, "sum", "too many outputs on CUDA: ", n);
    const Scratch memory("sum", static_cast<size_t>(n * chunks) * sizeof(double));
    double* partial = static_cast<double*>(memory.get());
    if (chunks > 0)
      require(for_float("sum", x->dtype, [&]<class T>(T) {
        const auto* from = static_cast<const typename Element<T>::Memory*>(x->pointer);
        if (by_block)
          launch(block_chunks<T>, static_cast<unsigned>(n * chunks), threads, *kept, *summed, chunks, from,
                 partial);
        else
          launch(thread_chunks<T>, blocks_for(n * chunks), threads, *kept, *summed, chunks, from, partial);
        return launched("sum");
      }));
    require(for_float("sum", y->dtype, [&]<class To>(To) {
      launch(add_chunks<To>, blocks_for(n), threads, partial, chunks, by_block ? 1 : n, by_block ? chunks : 1,
             n, *scale, static_cast<typename Element<To>::Memory*>(y->pointer));
      return launched("add_chunks");
    }));
  });
}

}  // namespace tw::cuda
