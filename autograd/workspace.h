// The scratch memory that an op hands to its kernel.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace tw {

// On CUDA undefined: the backend has scratch memory of its own (kernels/cuda/scratch.h). Group norm alone
// takes its workspace on the device.
inline Tensor workspace(int64_t bytes, Device device) {
  return device == Device::cpu ? Tensor::empty({bytes}, DType::u8) : Tensor();
}

}  // namespace tw
