// s(n, c) = sum over p of x(n, p, c), in f32: chunks of 256 pixels, then the chunks in order, so that the
// result depends on the number of pixels alone.
#pragma once

#include "tensor/view.h"

namespace tw::cuda {

// x holds n * pixels * c elements; sum is (n, c) of any float type. Throws tw::Error naming `op`.
void pixel_sum(const char* op, const View& x, int64_t n, int64_t pixels, int64_t c, const View& sum);

}  // namespace tw::cuda
