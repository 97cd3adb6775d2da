#pragma once

#include "kernels/op/predict_x0.h"
#include "kernels/op/sampler_step.h"

namespace tw::kernels {

// Elements [begin, end) of contiguous views that have been checked; all of one sample.
struct SamplerStepKernels {
  void (*step)(const SamplerStep&, const SamplerArrays&, int64_t begin, int64_t end);
  void (*x0_forward)(const SamplerStep&, const View& x, const View& output, const View& x0, int64_t begin,
                     int64_t end);
  void (*x0_backward)(const SamplerStep&, const View& x, const View& output, const View& dx0, const View& dx,
                      const View& doutput, int64_t begin, int64_t end);
};

}  // namespace tw::kernels
