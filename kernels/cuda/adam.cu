// Adam and AdamW with the average of the weights, in one pass over memory: the arithmetic of
// kernels/cpu/isa/adam.cpp, in its order, one thread an element.
#include <cmath>

#include "kernels/cuda/element.h"
#include "kernels/op/adam.h"

namespace tw::cuda {
namespace {

template <class R>
struct Coefficients {
  R grad_scale, l2, decay, beta2, one_minus_beta1, one_minus_beta2, eps, step_size, root_correction,
      ema_weight;

  explicit Coefficients(const kernels::AdamParams& p)
      : grad_scale(static_cast<R>(p.grad_scale)),
        l2(static_cast<R>(p.decoupled ? 0 : p.weight_decay)),
        decay(static_cast<R>(p.decoupled ? 1 - p.lr * p.weight_decay : 1)),
        beta2(static_cast<R>(p.beta2)),
        one_minus_beta1(static_cast<R>(1 - p.beta1)),
        one_minus_beta2(static_cast<R>(1 - p.beta2)),
        eps(static_cast<R>(p.eps)),
        step_size(static_cast<R>(p.lr / (1 - std::pow(p.beta1, static_cast<double>(p.step))))),
        root_correction(static_cast<R>(1 / std::sqrt(1 - std::pow(p.beta2, static_cast<double>(p.step))))),
        ema_weight(static_cast<R>(1 - p.ema_decay)) {}
};

// R: of the parameter; G: of the gradient in memory.
template <class R, class G>
__global__ void step_kernel(Coefficients<R> c, int64_t n, R* parameter,
                            const typename Element<G>::Memory* gradient, R* first, R* second, R* ema,
                            __nv_bfloat16* copy) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    R p = parameter[i];
    const R g = fma(c.l2, p, static_cast<R>(Element<G>::load(gradient[i])) * c.grad_scale);
    p *= c.decay;
    const R m = fma(c.one_minus_beta1, g - first[i], first[i]);
    const R v = fma(c.one_minus_beta2 * g, g, c.beta2 * second[i]);
    p = fma(-c.step_size, m / fma(sqrt(v), c.root_correction, c.eps), p);
    parameter[i] = p, first[i] = m, second[i] = v;
    if (ema) ema[i] = fma(c.ema_weight, p - ema[i], ema[i]);
    if (copy) copy[i] = __float2bfloat16_rn(static_cast<float>(p));
  }
}

template <class R>
const char* run(const kernels::AdamParams& params, const kernels::AdamTensors& t) {
  return for_float("adam_step", t.gradient.dtype, [&]<class G>(G) {
    const int64_t n = t.parameter.numel();
    launch(step_kernel<R, G>, blocks_for(n), threads, Coefficients<R>(params), n,
           static_cast<R*>(t.parameter.pointer),
           static_cast<const typename Element<G>::Memory*>(t.gradient.pointer), static_cast<R*>(t.m.pointer),
           static_cast<R*>(t.v.pointer), static_cast<R*>(t.ema.pointer),
           static_cast<__nv_bfloat16*>(t.bf16_copy.pointer));
    return launched("adam_step");
  });
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_adam_step(const kernels::AdamParams* params, const kernels::AdamTensors* tensors) {
  if (tensors->parameter.numel() == 0) return nullptr;
  return tensors->parameter.dtype == DType::f64 ? run<double>(*params, *tensors)
                                                : run<float>(*params, *tensors);
}

}  // namespace tw::cuda
