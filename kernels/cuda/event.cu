// Points in the queue of work, and the time between two of them: how long an op ran on the device
// (kernels/op/profile.h).
#include "kernels/cuda/library.h"

namespace tw::cuda {

// *event is null within a captured step, whose work is not done now.
TW_CUDA_EXPORT tw_cuda_record_event(void** event) {
  *event = nullptr;
  if (capturing()) return nullptr;
  cudaEvent_t made = nullptr;
  stream();  // makes the device current
  TW_CUDA_TRY(cudaEventCreate(&made));
  if (const cudaError_t status = cudaEventRecord(made, stream()); status != cudaSuccess) {
    cudaEventDestroy(made);
    return problem("cudaEventRecord", status);
  }
  *event = made;
  return nullptr;
}

// From `begin` to `end`, waited for.
TW_CUDA_EXPORT tw_cuda_event_seconds(void* begin, void* end, double* seconds) {
  float milliseconds = 0;
  TW_CUDA_TRY(cudaEventSynchronize(static_cast<cudaEvent_t>(end)));
  TW_CUDA_TRY(
      cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(begin), static_cast<cudaEvent_t>(end)));
  *seconds = 1e-3 * static_cast<double>(milliseconds);
  return nullptr;
}

TW_CUDA_EXPORT tw_cuda_destroy_event(void* event) {
  TW_CUDA_TRY(cudaEventDestroy(static_cast<cudaEvent_t>(event)));
  return nullptr;
}

}  // namespace tw::cuda
