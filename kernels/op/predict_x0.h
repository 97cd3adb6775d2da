// x0 = s clamp(p x + q o, -clip, clip): the clean image that a network's output o stands for, and its
// gradient.
//
//   dx = p s dx0 [|u| <= clip],   do = q s dx0 [|u| <= clip],   u = p x + q o
//
// Saturated pixels pass no gradient; at equality it passes. The coefficients are those of sampler_step.h.
#pragma once

#include <span>

#include "kernels/op/sampler_step.h"

namespace tw::kernels {

// x, output, x0: (n, ...) of one shape and dtype (f32, f64 or bf16), contiguous. `steps`: one, or one per
// sample; or none, and `coefficients` as in SamplerArrays.
void predict_x0_forward(std::span<const SamplerStep> steps, const View& x, const View& output, const View& x0,
                        const View& coefficients = {});

// dx and doutput may be absent (then not computed).
void predict_x0_backward(std::span<const SamplerStep> steps, const View& x, const View& output,
                         const View& dx0, const View& dx, const View& doutput, const View& coefficients = {});

}  // namespace tw::kernels
