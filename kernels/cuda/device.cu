// The device and the stream of all work.
#include <string>

#include "kernels/cuda/library.h"

namespace tw::cuda {
namespace {

__global__ void probe_kernel() {}

// The compute capabilities that this build has code for, "8.0 9.0".
std::string built_for() {
  std::string text;
#if defined(__CUDA_ARCH_LIST__)
  for (const int number : {__CUDA_ARCH_LIST__})
    text += (text.empty() ? "" : " ") + std::to_string(number / 100) + '.' + std::to_string(number / 10 % 10);
#endif
  return text;
}

int the_device = -1;
cudaStream_t the_stream = nullptr;

}  // namespace

// CUDA keeps the current device per thread: one that calls for the first time has device 0.
cudaStream_t stream() {
  static thread_local const cudaError_t selected = cudaSetDevice(the_device);
  static_cast<void>(selected);
  return the_stream;
}

bool capturing() {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  return cudaStreamIsCapturing(stream(), &status) == cudaSuccess && status != cudaStreamCaptureStatusNone;
}

// Makes `device` that of the program. Says in plain words when there is no driver or no such device, or when
// another one is in use: the handles of the libraries, the plans and all tensors belong to one.
TW_CUDA_EXPORT tw_cuda_open(int device) {
  static thread_local char text[256];
  if (the_device >= 0) {
    if (device == the_device) return nullptr;
    std::snprintf(text, sizeof text, "CUDA device %d is in use: a program works on one, and %d was asked for",
                  the_device, device);
    return text;
  }
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    int driver = 0;
    cudaDriverGetVersion(&driver);  // 0: there is none
    if (driver == 0) return "no CUDA driver on this machine";
    std::snprintf(text, sizeof text,
                  "the CUDA driver of this machine is for CUDA %d.%d, this build needs %d.%d", driver / 1000,
                  driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
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
  const cudaError_t runnable = cudaFuncGetAttributes(&attributes, probe_kernel);
  if (runnable == cudaErrorNoKernelImageForDevice || runnable == cudaErrorInvalidDeviceFunction) {
    int major = 0, minor = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
    std::snprintf(text, sizeof text,
                  "CUDA device %d has compute capability %d.%d, this build has code for %s; configure with "
                  "-DCMAKE_CUDA_ARCHITECTURES=%d%d",
                  device, major, minor, built_for().c_str(), major, minor);
    return text;
  }
  TW_CUDA_TRY(runnable);
  TW_CUDA_TRY(cudaStreamCreateWithFlags(&the_stream, cudaStreamNonBlocking));
  the_device = device;
  return nullptr;
}

// Returns when all queued work is done.
TW_CUDA_EXPORT tw_cuda_wait() {
  if (capturing()) return "the host cannot wait for the device within a captured step";
  TW_CUDA_TRY(cudaStreamSynchronize(stream()));
  return nullptr;
}

}  // namespace tw::cuda
