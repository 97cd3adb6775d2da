// Average pooling and nearest doubling of (n, h, w, c). f32, f64 or bf16; nothing is saved.
#pragma once

#include "autograd/var.h"

namespace tw {

// Mean over k x k windows: (n, h / k, w / k, c). Rows and columns that fill no window are left out.
Var avg_pool2d(const Var& x, int64_t k);

// Every pixel four times: (n, 2 h, 2 w, c).
Var upsample_nearest2x(const Var& x);

}  // namespace tw
