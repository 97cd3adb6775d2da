#include "kernels/cuda/element.h"
#include "kernels/cuda/pixel_sum.h"
#include "kernels/cuda/scratch.h"
#include "kernels/op/pixel_sum.h"

namespace tw::cuda {
namespace {

constexpr int chunk = 256, lanes = 8;  // pixels of a block; rows of threads that share them

// partial (n, chunks, c); a block is 32 channels wide.
template <class T>
__global__ void chunk_sums(const typename Element<T>::Memory* x, int64_t pixels, int64_t c,
                           typename Element<T>::Value* partial) {
  using V = typename Element<T>::Value;
  __shared__ V of_lane[lanes][32];
  const int64_t channel = int64_t{blockIdx.x} * 32 + threadIdx.x, first = int64_t{blockIdx.y} * chunk;
  const int64_t end = first + chunk < pixels ? first + chunk : pixels;
  V sum = 0;
  if (channel < c)
    for (int64_t p = first + threadIdx.y; p < end; p += lanes)
      sum += Element<T>::load(x[(blockIdx.z * pixels + p) * c + channel]);
  of_lane[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || channel >= c) return;
  for (int i = 1; i < lanes; ++i) sum += of_lane[i][threadIdx.x];
  partial[(int64_t{blockIdx.z} * gridDim.y + blockIdx.y) * c + channel] = sum;
}

template <class V, class To>
__global__ void add_chunks(const V* partial, int64_t n, int64_t chunks, int64_t c,
                           typename Element<To>::Memory* sum) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n * c) return;
  V total = 0;
  for (int64_t k = 0; k < chunks; ++k) total += partial[(i / c * chunks + k) * c + i % c];
  sum[i] = Element<To>::store(static_cast<typename Element<To>::Value>(total));
}

}  // namespace

void pixel_sum(const char* op, const View& x, int64_t n, int64_t pixels, int64_t c, const View& sum) {
  if (n * c == 0) return;
  const int64_t chunks = (pixels + chunk - 1) / chunk;
  check(chunks <= 65535 && n <= 65535, op, "at most 65535 samples of ", int64_t{65535} * chunk,
        " pixels are summed on CUDA, found ", n, " of ", pixels);
  require(for_float(op, x.dtype, [&]<class T>(T) {
    using V = typename Element<T>::Value;
    const Scratch partial(op, static_cast<size_t>(n * chunks * c) * sizeof(V));
    if (chunks > 0) {
      const dim3 blocks(static_cast<unsigned>((c + 31) / 32), static_cast<unsigned>(chunks),
                        static_cast<unsigned>(n));
      launch(chunk_sums<T>, blocks, dim3(32, lanes),
             static_cast<const typename Element<T>::Memory*>(x.pointer), pixels, c,
             static_cast<V*>(partial.get()));
      if (const char* text = launched("chunk_sums")) return text;
    }
    return for_float(op, sum.dtype, [&]<class To>(To) {
      launch(add_chunks<V, To>, static_cast<unsigned>((n * c + threads - 1) / threads), threads,
             static_cast<const V*>(partial.get()), n, chunks, c,
             static_cast<typename Element<To>::Memory*>(sum.pointer));
      return launched("add_chunks");
    });
  }));
}

TW_CUDA_EXPORT tw_cuda_pixel_sum(const View* x, const View* sum) {
  return caught([&] {
    const int64_t n = sum->shape[0], c = sum->shape[1];
    pixel_sum("pixel_sum", *x, n, n * c > 0 ? x->numel() / (n * c) : 0, c, *sum);
  });
}

}  // namespace tw::cuda
