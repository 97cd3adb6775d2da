// Adam and AdamW with the average of the weights, in one pass over memory: the arithmetic of
// kernels/cpu/isa/adam.cpp, in its order; some 60 tensors a launch.
#include <cmath>

#include "kernels/cuda/element.h"
#include "kernels/cuda/tensor_list.h"
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
struct Slot {
  int64_t n;
  R *parameter, *first, *second, *ema;
  const typename Element<G>::Memory* gradient;
  __nv_bfloat16* copy;
};

template <class R, class G>
__global__ void step_kernel(Coefficients<R> c, TensorList<Slot<R, G>> list) {
  for_my_elements(list, [&](const Slot<R, G>& t, int64_t i) {
    R p = t.parameter[i];
    const R g = fma(c.l2, p, static_cast<R>(Element<G>::load(t.gradient[i])) * c.grad_scale);
    p *= c.decay;
    const R m = fma(c.one_minus_beta1, g - t.first[i], t.first[i]);
    const R v = fma(c.one_minus_beta2 * g, g, c.beta2 * t.second[i]);
    p = fma(-c.step_size, m / fma(sqrt(v), c.root_correction, c.eps), p);
    t.parameter[i] = p, t.first[i] = m, t.second[i] = v;
    if (t.ema) t.ema[i] = fma(c.ema_weight, p - t.ema[i], t.ema[i]);
    if (t.copy) t.copy[i] = __float2bfloat16_rn(static_cast<float>(p));
  });
}

// Those of `tensors` whose parameter is R and whose gradient is G.
template <class R, class G>
const char* run(const Coefficients<R>& c, const kernels::AdamTensors* tensors, int64_t count) {
  using List = TensorList<Slot<R, G>>;
  List list;
  const auto flush = [&]() -> const char* {
    if (list.blocks() > 0) launch(step_kernel<R, G>, list.blocks(), threads, c, list);
    list = List();
    return launched("adam_step");
  };
  for (int64_t k = 0; k < count; ++k) {
    const kernels::AdamTensors& t = tensors[k];
    if (t.parameter.dtype != dtype_of<R>::value || t.gradient.dtype != dtype_of<G>::value) continue;
    if (t.parameter.numel() == 0) continue;
    list.add({t.parameter.numel(), static_cast<R*>(t.parameter.pointer), static_cast<R*>(t.m.pointer),
              static_cast<R*>(t.v.pointer), static_cast<R*>(t.ema.pointer),
              static_cast<const typename Element<G>::Memory*>(t.gradient.pointer),
              static_cast<__nv_bfloat16*>(t.bf16_copy.pointer)});
    if (list.full())
      if (const char* failed = flush()) return failed;
  }
  return flush();
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_adam_step(const kernels::AdamParams* params,
                                 const kernels::AdamTensors* const* tensors, const int64_t* count) {
  const Coefficients<float> c(*params);
  if (const char* failed = run<float, float>(c, *tensors, *count)) return failed;
  if (const char* failed = run<float, bf16>(c, *tensors, *count)) return failed;
  if (const char* failed = run<float, f16>(c, *tensors, *count)) return failed;
  return run<double, double>(Coefficients<double>(*params), *tensors, *count);
}

}  // namespace tw::cuda
