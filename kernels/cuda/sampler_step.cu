// One update of a sampler and x0 with its gradient (kernels/op/sampler_step.h, predict_x0.h), one thread an
// element; the formulas of kernels/math/sampler_step.h. A sample's coefficients are passed with the launch,
// up to `most_steps` of them.
#include "kernels/cuda/element.h"
#include "kernels/math/sampler_step.h"
#include "kernels/math/scalar.h"
#include "kernels/op/sampler_step.h"

namespace tw::cuda {
namespace {

using kernels::SamplerArrays;
using kernels::SamplerStep;
namespace math = kernels::math;

// A launch's parameters hold 4 KiB.
constexpr int most_steps = 32;
struct Steps {
  SamplerStep of[most_steps];
};

template <class T>
struct Arrays {
  using Memory = typename Element<T>::Memory;
  const Memory *x, *output, *noise, *gradient;
  Memory *x0, *next;
};

template <class T>
__global__ void step_kernel(Steps steps, bool one_step, int64_t size, int64_t n, Arrays<T> arrays) {
  using E = Element<T>;
  using V = typename E::Value;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) {
    const SamplerStep& s = steps.of[one_step ? 0 : i / size];
    const V x = E::load(arrays.x[i]), o = E::load(arrays.output[i]);
    const V u = math::unclipped_x0(V(s.x0_from_x), V(s.x0_from_output), x, o);
    const V x0 = V(s.x0_scale) * math::clip(u, V(s.clip));
    V next = V(s.next_from_x0) * x0 + V(s.next_from_x) * x + V(s.next_from_output) * o;
    if (arrays.noise) next += V(s.next_from_noise) * E::load(arrays.noise[i]);
    if (arrays.gradient) next += V(s.next_from_gradient) * E::load(arrays.gradient[i]);
    if (arrays.x0) arrays.x0[i] = E::store(x0);
    arrays.next[i] = E::store(next);
  }
}

}  // namespace

// `steps` (count): one, or one a sample.
TW_CUDA_EXPORT tw_cuda_sampler_step(const SamplerStep* const* steps, const int64_t* count,
                                    const SamplerArrays* arrays) {
  const View& x = arrays->x;
  if (x.numel() == 0) return nullptr;
  const int64_t samples = x.rank() == 0 ? 1 : x.dim(0), size = x.numel() / samples;
  const bool one_step = *count == 1;
  return for_float("sampler_step", x.dtype, [&]<class T>(T) -> const char* {
    using Memory = typename Element<T>::Memory;
    // With a step for each sample, as many samples a launch as steps fit into its parameters.
    const int64_t together = one_step ? samples : most_steps;
    for (int64_t first = 0; first < samples; first += together) {
      const int64_t here = samples - first < together ? samples - first : together, at = first * size;
      Steps passed;
      for (int64_t i = 0; i < (one_step ? 1 : here); ++i) passed.of[i] = (*steps)[one_step ? 0 : first + i];
      const auto part = [&](const View& view) {
        return view ? static_cast<Memory*>(view.pointer) + at : nullptr;
      };
      const Arrays<T> pointers{
          part(x),          part(arrays->output), part(arrays->noise), part(arrays->gradient),
          part(arrays->x0), part(arrays->next)};
      launch(step_kernel<T>, blocks_for(here * size), threads, passed, one_step, size, here * size, pointers);
      if (const char* failed = launched("sampler_step")) return failed;
    }
    return nullptr;
  });
}

}  // namespace tw::cuda
