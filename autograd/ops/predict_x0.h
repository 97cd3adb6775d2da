// x0 = s clamp(p x + q o, -clip, clip) (kernels/op/predict_x0.h), the clean image that a network's output
// stands for, as a differentiable op. Saves x and o when either wants a gradient.
#pragma once

#include <vector>

#include "autograd/var.h"
#include "kernels/op/predict_x0.h"

namespace tw {

// x, output: (n, h, w, c) of one dtype. `steps`: one entry, or one per sample. Throws when shapes differ.
// Or none, and `coefficients` (9) f64 on the device of x, which are read when the op runs.
Var predict_x0(const Var& x, const Var& output, std::vector<kernels::SamplerStep> steps,
               const Tensor& coefficients = {});

}  // namespace tw
