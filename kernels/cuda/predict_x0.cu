// The clean image that a network's output stands for, and its gradient (kernels/op/predict_x0.h), one thread
// an element; the formulas of kernels/math/sampler_step.h.
#include "kernels/cuda/element.h"
#include "kernels/cuda/sampler_steps.h"
#include "kernels/math/sampler_step.h"
#include "kernels/math/scalar.h"
#include "kernels/op/predict_x0.h"

namespace tw::cuda {
namespace {

using kernels::SamplerStep;
namespace math = kernels::math;

template <class T>
__global__ void x0_kernel(Steps steps, int64_t n, const typename Element<T>::Memory* x,
                          const typename Element<T>::Memory* output, typename Element<T>::Memory* x0) {
  using E = Element<T>;
  using V = typename E::Value;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) {
    const SamplerStep& s = steps.at(i);
    const V u =
        math::unclipped_x0(V(s.x0_from_x), V(s.x0_from_output), V(E::load(x[i])), V(E::load(output[i])));
    x0[i] = E::store(V(s.x0_scale) * math::clip(u, V(s.clip)));
  }
}

template <class T>
__global__ void x0_gradient_kernel(Steps steps, int64_t n, const typename Element<T>::Memory* x,
                                   const typename Element<T>::Memory* output,
                                   const typename Element<T>::Memory* dx0, typename Element<T>::Memory* dx,
                                   typename Element<T>::Memory* doutput) {
  using E = Element<T>;
  using V = typename E::Value;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) {
    const SamplerStep& s = steps.at(i);
    const V u =
        math::unclipped_x0(V(s.x0_from_x), V(s.x0_from_output), V(E::load(x[i])), V(E::load(output[i])));
    const V limit = V(s.clip), passed = u <= limit && -u <= limit ? V(E::load(dx0[i])) : V(0);
    if (dx) dx[i] = E::store(V(s.x0_scale * s.x0_from_x) * passed);
    if (doutput) doutput[i] = E::store(V(s.x0_scale * s.x0_from_output) * passed);
  }
}

template <class T>
auto* part(const View& view, int64_t at) {
  using Memory = typename Element<T>::Memory;
  return view ? static_cast<Memory*>(view.pointer) + at : nullptr;
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_predict_x0_forward(const SamplerStep* const* steps, const int64_t* count,
                                          const View* x, const View* output, const View* x0,
                                          const View* coefficients) {
  return for_float("predict_x0_forward", x->dtype, [&]<class T>(T) -> const char* {
    return for_samples(*steps, *count, *coefficients, *x, [&](const Steps& passed, int64_t at, int64_t n) {
      launch(x0_kernel<T>, blocks_for(n), threads, passed, n, part<T>(*x, at), part<T>(*output, at),
             part<T>(*x0, at));
      return launched("predict_x0_forward");
    });
  });
}

TW_CUDA_EXPORT tw_cuda_predict_x0_backward(const SamplerStep* const* steps, const int64_t* count,
                                           const View* x, const View* output, const View* dx0, const View* dx,
                                           const View* doutput, const View* coefficients) {
  return for_float("predict_x0_backward", x->dtype, [&]<class T>(T) -> const char* {
    return for_samples(*steps, *count, *coefficients, *x, [&](const Steps& passed, int64_t at, int64_t n) {
      launch(x0_gradient_kernel<T>, blocks_for(n), threads, passed, n, part<T>(*x, at), part<T>(*output, at),
             part<T>(*dx0, at), part<T>(*dx, at), part<T>(*doutput, at));
      return launched("predict_x0_backward");
    });
  });
}

}  // namespace tw::cuda
