// The sum of squares of several tensors as one number: some 190 tensors a launch give a double for each of
// their chunks, a thread's in f32 (f64) and then in f64; one block adds them in order.
#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/scratch.h"
#include "kernels/cuda/square_sum.h"
#include "kernels/cuda/tensor_list.h"
#include "tensor/view.h"

namespace tw::cuda {
namespace {

template <class T>
struct Squared {
  int64_t n;
  const typename Element<T>::Memory* x;
};

// partial: a number a block.
template <class T>
__global__ void square_chunks(TensorList<Squared<T>> list, double* partial) {
  using V = typename Element<T>::Value;
  V sum = 0;
  for_my_elements(list, [&](const Squared<T>& t, int64_t i) {
    const V value = Element<T>::load(t.x[i]);
    sum += value * value;
  });
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

void square_sum(const View* tensors, int64_t count, double* result) {
  int64_t chunks = 0;
  for (int64_t k = 0; k < count; ++k) chunks += (tensors[k].numel() + list_chunk - 1) / list_chunk;
  const Scratch memory("square_sum", static_cast<size_t>(chunks) * sizeof(double));
  double *partial = static_cast<double*>(memory.get()), *next = partial;
  // Runs of tensors of one type, as many a launch as its table holds.
  for (int64_t k = 0; k < count;) {
    const DType dtype = tensors[k].dtype;
    require(for_float("square_sum", dtype, [&]<class T>(T) {
      TensorList<Squared<T>> list;
      for (; k < count && tensors[k].dtype == dtype && !list.full(); ++k)
        list.add({tensors[k].numel(), static_cast<const typename Element<T>::Memory*>(tensors[k].pointer)});
      if (list.blocks() > 0) launch(square_chunks<T>, list.blocks(), threads, list, next);
      next += list.blocks();
      return launched("square_sum");
    }));
  }
  launch(add_partial, 1, 1024, partial, chunks, result);
  require(launched("add_partial"));
}

// To the host, which waits.
TW_CUDA_EXPORT tw_cuda_square_sum(const View* const* tensors, const int64_t* count, double* const* result) {
  return caught([&] {
    const Scratch sum("square_sum", sizeof(double));
    square_sum(*tensors, *count, static_cast<double*>(sum.get()));
    require(cudaMemcpyAsync(*result, sum.get(), sizeof(double), cudaMemcpyDeviceToHost, stream()),
            "cudaMemcpyAsync");
    require(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
  });
}

}  // namespace tw::cuda
