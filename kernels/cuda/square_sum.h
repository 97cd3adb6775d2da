// The sum of squares of several tensors (square_sum.cu), for those who need it on the device.
#pragma once

#include <cstdint>

#include "tensor/view.h"

namespace tw::cuda {

// Queues what writes it to *result, in device memory. Throws like require (scratch.h).
void square_sum(const View* tensors, int64_t count, double* result);

}  // namespace tw::cuda
