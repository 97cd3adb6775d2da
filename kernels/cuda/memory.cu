// Device, stream, device memory, copies and fill.
#include "kernels/cuda/element.h"
#include "kernels/cuda/library.h"

namespace tw::cuda {
namespace {

template <class T>
__global__ void fill_kernel(T* to, int64_t n, T value) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride)
    to[i] = value;
}

template <class T>
const char* fill(void* to, int64_t n, T value) {
  launch(fill_kernel<T>, blocks_for(n), threads, static_cast<T*>(to), n, value);
  return launched("fill");
}

cudaStream_t the_stream = nullptr;

}  // namespace

cudaStream_t stream() { return the_stream; }

// Makes `device` the current one. Says in plain words when there is no driver or no such device.
TW_CUDA_EXPORT tw_cuda_open(int device) {
  static thread_local char text[256];
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    std::snprintf(text, sizeof text, "no CUDA driver on this machine, or one older than CUDA %d.%d (%s)",
                  CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10, cudaGetErrorName(status));
    return text;
  }
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0))
    return "no CUDA device on this machine";
  if (status != cudaSuccess) return problem("cudaGetDeviceCount", status);
  if (device < 0 || device >= count) {
    std::snprintf(text, sizeof text, "no CUDA device %d on this machine, which has %d", device, count);
    return text;
  }
  TW_CUDA_TRY(cudaSetDevice(device));
  cudaFuncAttributes attributes;
  const cudaError_t runnable = cudaFuncGetAttributes(&attributes, fill_kernel<float>);
  if (runnable == cudaErrorNoKernelImageForDevice || runnable == cudaErrorInvalidDeviceFunction)
    return "this build has no code for the device's architecture; configure with "
           "-DCMAKE_CUDA_ARCHITECTURES=...";
  TW_CUDA_TRY(runnable);
  if (!the_stream) TW_CUDA_TRY(cudaStreamCreateWithFlags(&the_stream, cudaStreamNonBlocking));
  return nullptr;
}

TW_CUDA_EXPORT tw_cuda_allocate(size_t bytes, void** pointer) {
  const cudaError_t status = cudaMalloc(pointer, bytes);
  if (status == cudaSuccess) return nullptr;
  cudaGetLastError();  // a failed allocation must not colour the next call
  return problem("cudaMalloc", status);
}

TW_CUDA_EXPORT tw_cuda_release(void* pointer) {
  TW_CUDA_TRY(cudaFree(pointer));
  return nullptr;
}

// direction: 0 host to device, 1 device to host, 2 within the device. Returns when everything queued before
// is done too.
TW_CUDA_EXPORT tw_cuda_copy(void* to, const void* from, size_t bytes, int direction) {
  constexpr cudaMemcpyKind kinds[] = {cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost,
                                      cudaMemcpyDeviceToDevice};
  if (direction < 0 || direction > 2) return "tw_cuda_copy: unknown direction";
  TW_CUDA_TRY(cudaMemcpyAsync(to, from, bytes, kinds[direction], stream()));
  TW_CUDA_TRY(cudaStreamSynchronize(stream()));
  return nullptr;
}

TW_CUDA_EXPORT tw_cuda_fill(void* to, int dtype, int64_t n, double value) {
  if (n == 0) return nullptr;
  switch (static_cast<DType>(dtype)) {
    case DType::f32:
      return fill(to, n, static_cast<float>(value));
    case DType::f64:
      return fill(to, n, value);
    case DType::bf16:
      return fill(to, n, Element<bf16>::store(static_cast<float>(value)));
    case DType::f16:
      return fill(to, n, Element<f16>::store(static_cast<float>(value)));
    case DType::i32:
      return fill(to, n, static_cast<int32_t>(value));
    case DType::i64:
      return fill(to, n, static_cast<int64_t>(value));
    case DType::u8:
      return fill(to, n, static_cast<uint8_t>(value));
  }
  return unsupported("fill", dtype);
}

}  // namespace tw::cuda
