#include <atomic>
#include <limits>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/cuda/memory.h"
#include "tensor/cuda_memory.h"
#include "tensor/error.h"

namespace tw::cuda {
namespace {

std::atomic<int64_t> held[2];  // by MemoryFor
std::atomic<int64_t> peak;

struct Kept {
  std::mutex mutex;
  std::vector<std::pair<void*, size_t>> blocks;
};
// Never destroyed: tensors may be released at the very end of a program.
Kept& kept() {
  static Kept* const blocks = new Kept;
  return *blocks;
}

std::atomic<int64_t>& held_for(MemoryFor purpose) { return held[static_cast<int>(purpose)]; }

void count(MemoryFor purpose, int64_t bytes) {
  held_for(purpose) += bytes;
  const int64_t now = held[0] + held[1];
  for (int64_t most = peak; now > most && !peak.compare_exchange_weak(most, now);) continue;
}

// Of the current device; by default it returns its memory to the driver at every synchronisation.
cudaError_t the_pool(cudaMemPool_t* pool) {
  static cudaMemPool_t opened = nullptr;
  static const cudaError_t status = [] {
    int device = 0;
    uint64_t all = std::numeric_limits<uint64_t>::max();
    stream();
    cudaError_t failed = cudaGetDevice(&device);
    if (failed == cudaSuccess) failed = cudaDeviceGetDefaultMemPool(&opened, device);
    if (failed == cudaSuccess)
      failed = cudaMemPoolSetAttribute(opened, cudaMemPoolAttrReleaseThreshold, &all);
    return failed;
  }();
  *pool = opened;
  return status;
}

int64_t reserved_bytes() {
  cudaMemPool_t pool = nullptr;
  uint64_t bytes = 0;
  if (the_pool(&pool) != cudaSuccess) return 0;
  cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &bytes);
  return static_cast<int64_t>(bytes);
}

}  // namespace

cudaError_t allocate(MemoryFor purpose, size_t bytes, void** pointer) {
  cudaMemPool_t pool = nullptr;
  *pointer = nullptr;
  if (const cudaError_t status = the_pool(&pool); status != cudaSuccess) return status;
  cudaError_t status = cudaMallocAsync(pointer, bytes, stream());
  if (status == cudaErrorMemoryAllocation && !capturing()) {
    cudaGetLastError();  // a failed allocation must not colour the next call
    cudaStreamSynchronize(stream());
    cudaMemPoolTrimTo(pool, 0);
    status = cudaMallocAsync(pointer, bytes, stream());
  }
  if (status == cudaSuccess) {
    count(purpose, static_cast<int64_t>(bytes));
  } else {
    cudaGetLastError();
    *pointer = nullptr;
  }
  return status;
}

void release(MemoryFor purpose, size_t bytes, void* pointer) {
  if (purpose == MemoryFor::tensor && capturing()) {
    const std::lock_guard lock(kept().mutex);
    kept().blocks.emplace_back(pointer, bytes);
    return;
  }
  cudaFreeAsync(pointer, stream());
  count(purpose, -static_cast<int64_t>(bytes));
}

void release_kept() {
  std::vector<std::pair<void*, size_t>> blocks;
  {
    const std::lock_guard lock(kept().mutex);
    blocks.swap(kept().blocks);
  }
  for (const auto& [pointer, bytes] : blocks) release(MemoryFor::tensor, bytes, pointer);
}

std::string memory_in_words() {
  size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  return detail::join(held_for(MemoryFor::tensor).load(), " bytes held by tensors, ",
                      held_for(MemoryFor::scratch).load(), " by scratch memory, ", free, " of ", total,
                      " free on the device");
}

TW_CUDA_EXPORT tw_cuda_allocate(size_t bytes, void** pointer) {
  static thread_local std::string text;
  // A graph's own memory is its scratch; a tensor in it would be another one in every launch.
  if (capturing()) return "a captured step made a tensor that its memory plan does not have";
  const cudaError_t status = allocate(MemoryFor::tensor, bytes, pointer);
  if (status == cudaSuccess) return nullptr;
  text = detail::join(memory_in_words(), " (", cudaGetErrorName(status), ")");
  return text.c_str();
}

TW_CUDA_EXPORT tw_cuda_release(void* pointer, size_t bytes) {
  release(MemoryFor::tensor, bytes, pointer);
  return nullptr;
}

// Gives what is kept for reuse back to the driver.
TW_CUDA_EXPORT tw_cuda_trim() {
  cudaMemPool_t pool = nullptr;
  TW_CUDA_TRY(the_pool(&pool));
  TW_CUDA_TRY(cudaStreamSynchronize(stream()));
  TW_CUDA_TRY(cudaMemPoolTrimTo(pool, 0));
  return nullptr;
}

TW_CUDA_EXPORT tw_cuda_memory(CudaMemory* memory) {
  size_t free = 0, total = 0;
  TW_CUDA_TRY(cudaMemGetInfo(&free, &total));
  memory->tensors = held_for(MemoryFor::tensor);
  memory->scratch = held_for(MemoryFor::scratch);
  memory->peak = peak;
  memory->reserved = reserved_bytes();
  memory->free = static_cast<int64_t>(free);
  memory->total = static_cast<int64_t>(total);
  return nullptr;
}

TW_CUDA_EXPORT tw_cuda_reset_peak() {
  peak = held[0] + held[1];
  return nullptr;
}

}  // namespace tw::cuda
