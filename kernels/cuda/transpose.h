// to(j, i) = from(i, j), converted: weights between (taps, ci, co) and cuDNN's (co, taps, ci), in tiles of
// 32 x 32 through shared memory so that both sides are read and written along their rows.
#pragma once

#include "kernels/cuda/element.h"

namespace tw::cuda {

template <class From, class To>
__global__ void transpose_kernel(const typename Element<From>::Memory* from, int64_t rows, int64_t columns,
                                 typename Element<To>::Memory* to) {
  __shared__ typename Element<To>::Memory tile[32][33];  // 33: a column's elements lie in different banks
  const int64_t row = int64_t{blockIdx.y} * 32, column = int64_t{blockIdx.x} * 32;
  for (int i = static_cast<int>(threadIdx.y); i < 32; i += static_cast<int>(blockDim.y))
    if (row + i < rows && column + threadIdx.x < columns)
      tile[i][threadIdx.x] =
          Element<To>::store(Element<From>::load(from[(row + i) * columns + column + threadIdx.x]));
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y); i < 32; i += static_cast<int>(blockDim.y))
    if (column + i < columns && row + threadIdx.x < rows)
      to[(column + i) * rows + row + threadIdx.x] = tile[threadIdx.x][i];
}

template <class From, class To>
const char* transpose(const void* from, int64_t rows, int64_t columns, void* to) {
  const dim3 blocks(static_cast<unsigned>((columns + 31) / 32), static_cast<unsigned>((rows + 31) / 32));
  if (blocks.y > 65535) return "a weight has more than 2097120 rows of taps and channels";
  launch(transpose_kernel<From, To>, blocks, dim3(32, 8),
         static_cast<const typename Element<From>::Memory*>(from), rows, columns,
         static_cast<typename Element<To>::Memory*>(to));
  return launched("transpose");
}

}  // namespace tw::cuda
