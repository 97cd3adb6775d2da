// Copies between the host and the device, through two pinned buffers: the device copies one while the host
// copies the other, and the host's memory is free to change when the call returns.
//
// A copy to the device is queued and not waited for; a copy from it waits for what was queued before. Small
// copies to the device share a buffer, so that the host is ahead of it by many of them.
#include <algorithm>
#include <cstring>
#include <mutex>

#include "kernels/cuda/library.h"

namespace tw::cuda {
namespace {

constexpr size_t chunk_bytes = size_t{4} << 20;

struct Buffer {
  char* pinned = nullptr;
  cudaEvent_t copied = nullptr;  // by the device
  size_t used = 0;               // bytes that it may still have to copy

  const char* open() {
    if (pinned) return nullptr;
    TW_CUDA_TRY(cudaEventCreateWithFlags(&copied, cudaEventDisableTiming));
    void* pointer = nullptr;
    TW_CUDA_TRY(cudaHostAlloc(&pointer, chunk_bytes, cudaHostAllocDefault));
    pinned = static_cast<char*>(pointer);
    return nullptr;
  }
};

std::mutex mutex;  // of the buffers
Buffer buffers[2];
size_t current = 0;  // the buffer that copies to the device go through

// Until the whole buffer is free. Of one that was never used, too: an event that was not recorded is over.
const char* wait_for(Buffer& buffer) {
  if (const char* failed = buffer.open()) return failed;
  TW_CUDA_TRY(cudaEventSynchronize(buffer.copied));
  buffer.used = 0;
  return nullptr;
}

const char* queue_copy(Buffer& buffer, void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  TW_CUDA_TRY(cudaMemcpyAsync(to, from, bytes, kind, stream()));
  TW_CUDA_TRY(cudaEventRecord(buffer.copied, stream()));
  return nullptr;
}

const char* to_device(char* to, const char* from, size_t bytes) {
  for (size_t at = 0; at < bytes; at += chunk_bytes) {
    const size_t count = std::min(chunk_bytes, bytes - at);
    if (!buffers[current].pinned || buffers[current].used + count > chunk_bytes) {
      current = 1 - current;
      if (const char* failed = wait_for(buffers[current])) return failed;
    }
    Buffer& buffer = buffers[current];
    char* place = buffer.pinned + buffer.used;
    buffer.used += (count + 63) / 64 * 64;
    std::memcpy(place, from + at, count);
    if (const char* failed = queue_copy(buffer, to + at, place, count, cudaMemcpyHostToDevice)) return failed;
  }
  return nullptr;
}

const char* to_host(char* to, const char* from, size_t bytes) {
  for (Buffer& buffer : buffers)
    if (const char* failed = wait_for(buffer)) return failed;
  const size_t chunks = (bytes + chunk_bytes - 1) / chunk_bytes;
  for (size_t i = 0; i <= chunks; ++i) {  // chunk i is queued, then the one before it is taken
    if (i < chunks) {
      const size_t at = i * chunk_bytes, count = std::min(chunk_bytes, bytes - at);
      Buffer& buffer = buffers[i % 2];
      if (const char* failed = queue_copy(buffer, buffer.pinned, from + at, count, cudaMemcpyDeviceToHost))
        return failed;
    }
    if (i > 0) {
      const size_t at = (i - 1) * chunk_bytes;
      Buffer& buffer = buffers[(i - 1) % 2];
      if (const char* failed = wait_for(buffer)) return failed;
      std::memcpy(to + at, buffer.pinned, std::min(chunk_bytes, bytes - at));
    }
  }
  return nullptr;
}

}  // namespace

// direction: 0 host to device, 1 device to host, 2 within the device.
TW_CUDA_EXPORT tw_cuda_copy(void* to, const void* from, size_t bytes, int direction) {
  if (direction < 0 || direction > 2) return "tw_cuda_copy: unknown direction";
  if (bytes == 0) return nullptr;
  if (direction == 2) {
    TW_CUDA_TRY(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()));
    return nullptr;
  }
  if (capturing())
    return direction == 0
               ? "a captured step cannot take values from the host: they would be old when it is repeated"
               : "a captured step cannot give values to the host";
  const std::lock_guard lock(mutex);
  return direction == 0 ? to_device(static_cast<char*>(to), static_cast<const char*>(from), bytes)
                        : to_host(static_cast<char*>(to), static_cast<const char*>(from), bytes);
}

}  // namespace tw::cuda
