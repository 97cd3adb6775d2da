// A grid of CUDA blocks on one thread of the host. Blocks run one after another; the threads of a block are
// fibers that change at barriers, so a kernel that has none runs as a plain loop. At every barrier the order
// of the threads turns round: a kernel that lacks one is likely to read what is not written yet.
//
// What it shows: arithmetic, indices, barriers that not all threads reach (the program stops and says so).
// What it cannot: time, and races that need two threads at the same instant.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <functional>

namespace emulator {

struct Coordinates {
  uint3 thread, block;
  dim3 block_size, grid_size;
};
// Of the thread that runs.
const Coordinates& current();

enum class Barrier { block, warp };
void wait(Barrier barrier);

// Two buffers of 64-bit words, one word for each lane of the running thread's warp, used in turn.
uint64_t* exchange_buffer();
int lane();

template <class V, class From>
V exchange(V value, From from) {
  static_assert(sizeof(V) <= sizeof(uint64_t));
  uint64_t* buffer = exchange_buffer();
  std::memcpy(&buffer[lane()], &value, sizeof value);
  wait(Barrier::warp);
  std::memcpy(&value, &buffer[from(lane())], sizeof value);
  return value;
}

// Does `work` now, or, while `stream` is captured, in each launch of the graph.
void enqueue(cudaStream_t stream, std::function<void()> work);

// Calls `body` once for every thread of the grid.
void run(dim3 grid, dim3 block, const std::function<void()>& body);

void launch(dim3 grid, dim3 block, cudaStream_t stream, std::function<void()> body);

}  // namespace emulator
