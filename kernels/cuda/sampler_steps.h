// How the coefficients of a sampler's step reach its kernels: with the launch, up to most_steps of them, or,
// for a step that is repeated, from the device's memory.
#pragma once

#include <algorithm>

#include "kernels/cuda/library.h"
#include "kernels/op/sampler_step.h"

namespace tw::cuda {

// A launch's parameters hold 4 KiB.
constexpr int64_t most_steps = 32;
struct Steps {
  kernels::SamplerStep of[most_steps];
  const kernels::SamplerStep* in_memory;
  bool one;      // for all samples
  int64_t size;  // elements of a sample

  __device__ const kernels::SamplerStep& at(int64_t i) const {
    return in_memory ? *in_memory : of[one ? 0 : i / size];
  }
};

// Calls launch(steps, first element, elements) for all samples of x, as many at a time as have their steps in
// the parameters; until it returns a text.
template <class Launch>
const char* for_samples(const kernels::SamplerStep* passed, int64_t count, const View& coefficients,
                        const View& x, Launch launch) {
  if (x.numel() == 0) return nullptr;
  const int64_t samples = x.rank() == 0 ? 1 : x.dim(0);
  Steps steps;
  steps.in_memory = static_cast<const kernels::SamplerStep*>(coefficients.pointer);
  steps.one = count <= 1;
  steps.size = x.numel() / samples;
  const int64_t together = steps.one ? samples : most_steps;
  for (int64_t first = 0; first < samples; first += together) {
    const int64_t here = std::min(together, samples - first);
    for (int64_t i = 0; i < (steps.one ? count : here); ++i) steps.of[i] = passed[steps.one ? 0 : first + i];
    if (const char* failed = launch(steps, first * steps.size, here * steps.size)) return failed;
  }
  return nullptr;
}

}  // namespace tw::cuda
