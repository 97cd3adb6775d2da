// The CUDA side of the ops: functions of the loaded backend (tensor/cuda_library.h), each in the file of
// kernels/cuda/ that has the op's name. An op calls its own once it has checked its arguments.
#pragma once

#include "tensor/cuda_library.h"

namespace tw::kernels::cuda {

// Whether this build has the CUDA backend (which does not mean that a device is there):
// kernels/cuda/built.cpp or kernels/nocuda/built.cpp.
bool built();

// Calls `name` with the addresses of the arguments: views on the device, and the plain structs of the op's
// header. Work is queued, not waited for. Throws Error naming `name`.
template <class... Arguments>
void call(const char* name, const Arguments&... arguments) {
  cuda_call(name, static_cast<const Arguments*>(&arguments)...);
}

}  // namespace tw::kernels::cuda
