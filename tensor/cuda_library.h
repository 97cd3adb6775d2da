// The CUDA backend as seen from the host: a shared object, libtweedie_cuda.so, loaded when the first CUDA
// tensor is asked for. A program that stays on the CPU needs no driver, links no CUDA library and starts in
// milliseconds.
//
// It is looked for at $TW_CUDA_LIBRARY, beside the program, in ../lib from there, and on the system's library
// path. Its functions have C linkage and return null, or a text that says what failed
// (kernels/cuda/library.h).
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "tensor/cuda_memory.h"
#include "tensor/storage.h"
#include "tensor/view.h"

namespace tw {

// The device that this program works on, 0 unless it says so before the first question about CUDA; throws
// Error once another is in use.
void use_cuda_device(int index);

// Empty when CUDA tensors can be made; else why not: built without CUDA, no driver, no device.
std::string cuda_unavailable_reason();
inline bool cuda_available() { return cuda_unavailable_reason().empty(); }

// A function of the backend by name. Throws Error{data} with cuda_unavailable_reason().
void* cuda_symbol(const char* name);

// Calls const char* name(arguments...) of the backend; throws Error naming `name` if it returns a text.
template <class... Arguments>
void cuda_call(const char* name, Arguments... arguments) {
  const auto function = reinterpret_cast<const char* (*)(Arguments...)>(cuda_symbol(name));
  if (const char* problem = function(arguments...)) fail(name, problem);
}

// The device's own pool, which keeps what is given back (kernels/cuda/memory.h). Throws when CUDA is not
// available.
std::shared_ptr<Allocator> cuda_pool();
CudaMemory cuda_memory();
void cuda_reset_peak();

// Whether f32 products and convolutions on the device may round their inputs to tf32 (ten bits of mantissa),
// which its matrix units are faster at. Off unless asked for, here or by TW_TF32=1.
void cuda_allow_tf32(bool allow);
bool cuda_tf32_allowed();

// Returns when all queued work is done. Throws within a captured step.
void cuda_wait();

// `bytes` between a device and the host or within a device. `from` may change when it returns; what was
// copied to the host is there, what was copied to the device is before the next op sees it.
void cuda_copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes);
// Any strides and dtypes within the device, where `to` and `from` lie, of one shape. Queued, not waited for.
void cuda_copy_within(const View& to, const View& from);
// Every element of a contiguous device view.
void cuda_fill(const View& to, double value);

}  // namespace tw
