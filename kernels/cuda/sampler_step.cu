// One update of a sampler (kernels/op/sampler_step.h), one thread an element; the formulas of
// kernels/math/sampler_step.h.
#include "kernels/cuda/element.h"
#include "kernels/cuda/sampler_steps.h"
#include "kernels/math/sampler_step.h"
#include "kernels/math/scalar.h"

namespace tw::cuda {
namespace {

using kernels::SamplerArrays;
using kernels::SamplerStep;
namespace math = kernels::math;

template <class T>
struct Arrays {
  using Memory = typename Element<T>::Memory;
  const Memory *x, *output, *noise, *gradient;
  Memory *x0, *next;
};

template <class T>
__global__ void step_kernel(Steps steps, int64_t n, Arrays<T> arrays) {
  using E = Element<T>;
  using V = typename E::Value;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) {
    const SamplerStep& s = steps.at(i);
    const V x = E::load(arrays.x[i]), o = E::load(arrays.output[i]);
    const V u = math::unclipped_x0(V(s.x0_from_x), V(s.x0_from_output), x, o);
    const V x0 = V(s.x0_scale) * math::clip(u, V(s.clip));
    V next = V(s.next_from_x0) * x0 + V(s.next_from_x) * x + V(s.next_from_output) * o;
    if (arrays.noise) {
      const V from_noise = V(s.next_from_noise);
      next += from_noise == V(0) ? V(0) : from_noise * E::load(arrays.noise[i]);
    }
    if (arrays.gradient) next += V(s.next_from_gradient) * E::load(arrays.gradient[i]);
    if (arrays.x0) arrays.x0[i] = E::store(x0);
    arrays.next[i] = E::store(next);
  }
}

}  // namespace

// `steps` (count): one, one a sample, or none when the arrays have coefficients.
TW_CUDA_EXPORT tw_cuda_sampler_step(const SamplerStep* const* steps, const int64_t* count,
                                    const SamplerArrays* arrays) {
  return for_float("sampler_step", arrays->x.dtype, [&]<class T>(T) -> const char* {
    using Memory = typename Element<T>::Memory;
    return for_samples(
        *steps, *count, arrays->coefficients, arrays->x, [&](const Steps& passed, int64_t at, int64_t n) {
          const auto part = [&](const View& view) {
            return view ? static_cast<Memory*>(view.pointer) + at : nullptr;
          };
          const Arrays<T> pointers{part(arrays->x),        part(arrays->output), part(arrays->noise),
                                   part(arrays->gradient), part(arrays->x0),     part(arrays->next)};
          launch(step_kernel<T>, blocks_for(n), threads, passed, n, pointers);
          return launched("sampler_step");
        });
  });
}

}  // namespace tw::cuda
