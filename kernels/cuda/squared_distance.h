// s ||y - a||^2 of each image, or its root. A thread adds every 256th element of a chunk in f32 (f64), then
// the threads of a block are added, and then the blocks of an image, in order and in f64.
#pragma once

#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/scratch.h"
#include "tensor/view.h"

namespace tw::cuda {

constexpr int64_t distance_chunk = 4096;  // elements of a block

template <class T>
__global__ void distance_chunks(const typename Element<T>::Memory* y, const typename Element<T>::Memory* a,
                                int64_t size, double* partial) {
  using V = typename Element<T>::Value;
  const int64_t begin = blockIdx.x * distance_chunk,
                end = begin + distance_chunk < size ? begin + distance_chunk : size;
  y += blockIdx.y * size, a += blockIdx.y * size;
  V sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    const V r = Element<T>::load(y[i]) - Element<T>::load(a[i]);
    sum += r * r;
  }
  const double total = over_block<Plus<double>>(static_cast<double>(sum), 0.0);
  if (threadIdx.x == 0) partial[int64_t{blockIdx.y} * gridDim.x + blockIdx.x] = total;
}

// V: the type of the distances.
template <class V>
__global__ void add_distance_chunks(const double* partial, int64_t chunks, int64_t n, double scale, bool root,
                                    V* distance) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  double sum = 0;
  for (int64_t k = 0; k < chunks; ++k) sum += partial[i * chunks + k];
  distance[i] = static_cast<V>(root ? sqrt(scale * sum) : scale * sum);
}

// What an exported function returns. y and a (n, ...) of one shape and dtype, distance (n) f32, f64 for f64.
inline const char* squared_distances(const char* op, const View& y, const View& a, double scale, bool root,
                                     const View& distance) {
  return caught([&] {
    const int64_t n = a.shape[0], size = n > 0 ? a.numel() / n : 0;
    const int64_t chunks = (size + distance_chunk - 1) / distance_chunk;
    if (n == 0) return;
    check(n <= 65535, op, "at most 65535 images on CUDA, found ", n);
    const Scratch memory(op, static_cast<size_t>(n * chunks) * sizeof(double));
    double* partial = static_cast<double*>(memory.get());
    require(for_float(op, a.dtype, [&]<class T>(T) {
      using M = typename Element<T>::Memory;
      using V = typename Element<T>::Value;
      const dim3 blocks(static_cast<unsigned>(chunks), static_cast<unsigned>(n));
      if (chunks > 0)
        launch(distance_chunks<T>, blocks, threads, static_cast<const M*>(y.pointer),
               static_cast<const M*>(a.pointer), size, partial);
      if (const char* text = launched("distance_chunks")) return text;
      launch(add_distance_chunks<V>, static_cast<unsigned>((n + threads - 1) / threads), threads, partial,
             chunks, n, scale, root, static_cast<V*>(distance.pointer));
      return launched("add_distance_chunks");
    }));
  });
}

}  // namespace tw::cuda
