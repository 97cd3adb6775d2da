// Tensors between devices.
#pragma once

#include "tensor/tensor.h"

namespace tw {

// The same elements on `device`: `tensor` itself if it is there already, else a new contiguous tensor.
// Throws Error{data} saying why when that device cannot be used (see cuda_library.h).
Tensor to_device(const Tensor& tensor, Device device);

}  // namespace tw
