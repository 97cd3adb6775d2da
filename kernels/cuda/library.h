// What every function that libtweedie_cuda.so exports has in common.
//
// An exported function has C linkage and returns null, or a text that stays valid until the thread's next
// call; no exception crosses the border. It takes numbers and pointers, among them pointers to views and to
// the plain structs of an op's header (kernels/op/): both sides are built from the same source. Arguments
// have been checked by the op. Work is queued on one stream.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>

#include "tensor/dtype.h"

#define TW_CUDA_EXPORT extern "C" __attribute__((visibility("default"))) const char*

namespace tw::cuda {

inline const char* problem(const char* call, cudaError_t status) {
  static thread_local char text[256];
  std::snprintf(text, sizeof text, "%s gave %s: %s", call, cudaGetErrorName(status),
                cudaGetErrorString(status));
  return text;
}

inline const char* unsupported(const char* op, int dtype) {
  static thread_local char text[128];
  std::snprintf(text, sizeof text, "%s does not support dtype number %d on CUDA", op, dtype);
  return text;
}

// The stream of all work (device.cu), on the device that the program opened.
cudaStream_t stream();
// While a step is captured (graph.cu) its work is noted, not done.
bool capturing();

// Starts a kernel on that stream. (Compiled as host code, by tests/cuda_emulator, it runs there.)
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, Arguments... arguments) {
#ifdef __CUDACC__
  kernel<<<grid, block, 0, stream()>>>(arguments...);
#else
  emulator::launch(grid, block, stream(), [=] { kernel(arguments...); });
#endif
}

// What the launch before it gave: null if all is well.
inline const char* launched(const char* kernel) {
  const cudaError_t status = cudaGetLastError();
  return status == cudaSuccess ? nullptr : problem(kernel, status);
}

// Threads a block, and blocks for n elements at one element a thread; kernels stride over what is left.
constexpr int threads = 256;
inline unsigned blocks_for(int64_t n) {
  const int64_t blocks = (n + threads - 1) / threads;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks > 65535 ? 65535 : blocks);
}

}  // namespace tw::cuda

// Returns the failed call's text and status from the exported function around it.
#define TW_CUDA_TRY(call)                                                   \
  do {                                                                      \
    const cudaError_t status_ = (call);                                     \
    if (status_ != cudaSuccess) return ::tw::cuda::problem(#call, status_); \
  } while (false)
