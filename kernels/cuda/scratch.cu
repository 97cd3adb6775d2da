#include "kernels/cuda/memory.h"
#include "kernels/cuda/scratch.h"

namespace tw::cuda {

Scratch::Scratch(const char* op, size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const cudaError_t status = allocate(MemoryFor::scratch, bytes, &pointer_);
  if (status != cudaSuccess)
    throw Error(ErrorKind::memory,
                detail::join("out of device memory: ", bytes, " bytes of scratch asked for by ", op, ": ",
                             memory_in_words(), " (", cudaGetErrorName(status), ")"));
}

Scratch::~Scratch() {
  if (pointer_) release(MemoryFor::scratch, bytes_, pointer_);
}

}  // namespace tw::cuda
