// Many tensors in one launch: a table of them travels with the launch's parameters, and every block finds its
// tensor and its chunk of that by the number of blocks before it.
#pragma once

#include <cstdint>

#include "kernels/cuda/library.h"

namespace tw::cuda {

constexpr int64_t list_chunk = 4096;  // elements of a block

// Entry: a tensor's pointers and `int64_t n`, its elements. A launch's parameters hold 4 KiB.
template <class Entry>
struct TensorList {
  static constexpr int most = 3900 / static_cast<int>(sizeof(Entry) + sizeof(unsigned));
  int count = 0;
  unsigned begin[most + 1] = {};  // blocks before each tensor, and in all
  Entry of[most];

  bool full() const { return count == most; }
  unsigned blocks() const { return begin[count]; }
  void add(const Entry& entry) {
    of[count] = entry;
    begin[count + 1] = begin[count] + static_cast<unsigned>((entry.n + list_chunk - 1) / list_chunk);
    ++count;
  }

  // The tensor of this block.
  __device__ int mine() const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (begin[middle] <= blockIdx.x ? low : high) = middle;
    }
    return low;
  }
};

// Calls f(entry, i) for this thread's elements of its block's chunk.
template <class Entry, class F>
__device__ void for_my_elements(const TensorList<Entry>& list, F f) {
  const int tensor = list.mine();
  const Entry& entry = list.of[tensor];
  const int64_t first = int64_t{blockIdx.x - list.begin[tensor]} * list_chunk;
  const int64_t end = first + list_chunk < entry.n ? first + list_chunk : entry.n;
  for (int64_t i = first + threadIdx.x; i < end; i += blockDim.x) f(entry, i);
}

}  // namespace tw::cuda
