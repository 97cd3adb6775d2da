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

template <class T>
__global__ void x0_kernel(Steps steps, bool one_step, int64_t size, int64_t n,
                          const typename Element<T>::Memory* x, const typename Element<T>::Memory* output,
                          typename Element<T>::Memory* x0) {
  using E = Element<T>;
  using V = typename E::Value;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) {
    const SamplerStep& s = steps.of[one_step ? 0 : i / size];
    const V u = math::unclipped_x0(V(s.x0_from_x), V(s.x0_from_output), E::load(x[i]), E::load(output[i]));
    x0[i] = E::store(V(s.x0_scale) * math::clip(u, V(s.clip)));
  }
}

template <class T>
__global__ void x0_backward_kernel(Steps steps, bool one_step, int64_t size, int64_t n,
                                   const typename Element<T>::Memory* x,
                                   const typename Element<T>::Memory* output,
                                   const typename Element<T>::Memory* dx0, typename Element<T>::Memory* dx,
                                   typename Element<T>::Memory* doutput) {
  using E = Element<T>;
  using V = typename E::Value;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) {
    const SamplerStep& s = steps.of[one_step ? 0 : i / size];
    const V u = math::unclipped_x0(V(s.x0_from_x), V(s.x0_from_output), E::load(x[i]), E::load(output[i]));
    const V passed = u <= V(s.clip) && -u <= V(s.clip) ? E::load(dx0[i]) : V(0);
    if (dx) dx[i] = E::store(V(s.x0_scale * s.x0_from_x) * passed);
    if (doutput) doutput[i] = E::store(V(s.x0_scale * s.x0_from_output) * passed);
  }
}

// Calls f(steps of a launch, whether they are one for all samples, elements of a sample, elements of the
// launch, its first element). With a step for each sample, as many samples a launch as steps fit into it.
template <class F>
const char* each_launch(const SamplerStep* steps, int64_t count, const View& x, F f) {
  if (x.numel() == 0) return nullptr;
  const int64_t samples = x.rank() == 0 ? 1 : x.dim(0), size = x.numel() / samples;
  const bool one_step = count == 1;
  const int64_t together = one_step ? samples : most_steps;
  for (int64_t first = 0; first < samples; first += together) {
    const int64_t here = samples - first < together ? samples - first : together;
    Steps passed;
    for (int64_t i = 0; i < (one_step ? 1 : here); ++i) passed.of[i] = steps[one_step ? 0 : first + i];
    if (const char* failed = f(passed, one_step, size, here * size, first * size)) return failed;
  }
  return nullptr;
}

// A view's elements from `at` on, null if it is absent.
template <class T>
typename Element<T>::Memory* part(const View& view, int64_t at) {
  return view ? static_cast<typename Element<T>::Memory*>(view.pointer) + at : nullptr;
}

}  // namespace

// `steps` (count): one, or one a sample.
TW_CUDA_EXPORT tw_cuda_sampler_step(const SamplerStep* const* steps, const int64_t* count,
                                    const SamplerArrays* arrays) {
  const View& x = arrays->x;
  return for_float("sampler_step", x.dtype, [&]<class T>(T) {
    const auto one = [&](const Steps& passed, bool one_step, int64_t size, int64_t n, int64_t at) {
      const Arrays<T> pointers{part<T>(x, at),
                               part<T>(arrays->output, at),
                               part<T>(arrays->noise, at),
                               part<T>(arrays->gradient, at),
                               part<T>(arrays->x0, at),
                               part<T>(arrays->next, at)};
      launch(step_kernel<T>, blocks_for(n), threads, passed, one_step, size, n, pointers);
      return launched("sampler_step");
    };
    return each_launch(*steps, *count, x, one);
  });
}

TW_CUDA_EXPORT tw_cuda_predict_x0_forward(const SamplerStep* const* steps, const int64_t* count,
                                          const View* x, const View* output, const View* x0) {
  return for_float("predict_x0_forward", x->dtype, [&]<class T>(T) {
    const auto one = [&](const Steps& passed, bool one_step, int64_t size, int64_t n, int64_t at) {
      launch(x0_kernel<T>, blocks_for(n), threads, passed, one_step, size, n, part<T>(*x, at),
             part<T>(*output, at), part<T>(*x0, at));
      return launched("predict_x0_forward");
    };
    return each_launch(*steps, *count, *x, one);
  });
}

TW_CUDA_EXPORT tw_cuda_predict_x0_backward(const SamplerStep* const* steps, const int64_t* count,
                                           const View* x, const View* output, const View* dx0, const View* dx,
                                           const View* doutput) {
  return for_float("predict_x0_backward", x->dtype, [&]<class T>(T) {
    const auto one = [&](const Steps& passed, bool one_step, int64_t size, int64_t n, int64_t at) {
      launch(x0_backward_kernel<T>, blocks_for(n), threads, passed, one_step, size, n, part<T>(*x, at),
             part<T>(*output, at), part<T>(*dx0, at), part<T>(*dx, at), part<T>(*doutput, at));
      return launched("predict_x0_backward");
    };
    return each_launch(*steps, *count, *x, one);
  });
}

}  // namespace tw::cuda
