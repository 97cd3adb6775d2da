#include <limits>

#include "kernels/cuda/scratch.h"

namespace tw::cuda {
namespace {

// By default the pool returns its memory to the driver at every synchronisation.
void keep_memory() {
  static const bool done = [] {
    int device = 0;
    cudaMemPool_t pool = nullptr;
    uint64_t all = std::numeric_limits<uint64_t>::max();
    require(cudaGetDevice(&device), "cudaGetDevice");
    require(cudaDeviceGetDefaultMemPool(&pool, device), "cudaDeviceGetDefaultMemPool");
    require(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all), "cudaMemPoolSetAttribute");
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace

Scratch::Scratch(const char* op, size_t bytes) {
  if (bytes == 0) return;
  keep_memory();
  const cudaError_t status = cudaMallocAsync(&pointer_, bytes, stream());
  if (status == cudaSuccess) return;
  pointer_ = nullptr;
  cudaGetLastError();  // the next call must not report it again
  throw Error(ErrorKind::memory, detail::join("out of device memory: ", bytes, " bytes asked for by ", op,
                                              ": ", cudaGetErrorString(status)));
}

Scratch::~Scratch() {
  if (pointer_) cudaFreeAsync(pointer_, stream());
}

}  // namespace tw::cuda
