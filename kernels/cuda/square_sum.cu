// The sum of squares of several tensors as one number: a double for each chunk of each tensor, the threads of
// a block in f32 (f64) and then in f64; one block adds the chunks in order. The host waits for the result.
#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/scratch.h"
#include "tensor/view.h"

namespace tw::cuda {
namespace {

constexpr int64_t chunk = 4096;

int64_t chunks_of(const View& x) { return (x.numel() + chunk - 1) / chunk; }

template <class T>
__global__ void square_chunks(const typename Element<T>::Memory* x, int64_t n, double* partial) {
  using V = typename Element<T>::Value;
  const int64_t begin = blockIdx.x * chunk, end = begin + chunk < n ? begin + chunk : n;
  V sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    const V value = Element<T>::load(x[i]);
    sum += value * value;
  }
  const double total = over_block<Plus<double>>(static_cast<double>(sum), 0.0);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

__global__ void add_partial(const double* partial, int64_t n, double* result) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += partial[i];
  sum = over_block<Plus<double>>(sum, 0.0);
  if (threadIdx.x == 0) *result = sum;
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_square_sum(const View* const* tensors, const int64_t* count, double* const* result) {
  return caught([&] {
    int64_t chunks = 0, at = 0;
    for (int64_t k = 0; k < *count; ++k) chunks += chunks_of((*tensors)[k]);
    const Scratch memory("square_sum", static_cast<size_t>(chunks + 1) * sizeof(double));
    double* partial = static_cast<double*>(memory.get());
    for (int64_t k = 0; k < *count; ++k) {
      const View& x = (*tensors)[k];
      if (x.numel() == 0) continue;
      require(for_float("square_sum", x.dtype, [&]<class T>(T) {
        launch(square_chunks<T>, static_cast<unsigned>(chunks_of(x)), threads,
               static_cast<const typename Element<T>::Memory*>(x.pointer), x.numel(), partial + at);
        return launched("square_sum");
      }));
      at += chunks_of(x);
    }
    launch(add_partial, 1, 1024, partial, chunks, partial + chunks);
    require(launched("add_partial"));
    require(cudaMemcpyAsync(*result, partial + chunks, sizeof(double), cudaMemcpyDeviceToHost, stream()),
            "cudaMemcpyAsync");
    require(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
  });
}

}  // namespace tw::cuda
