// The step is bound by memory: 7 streams of 4 bytes a parameter (p, m, v read and written, g read), 9 with an
// ema. Coefficients are prepared in f64.
#include "kernels/cpu/isa/adam.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/vec.h"
#include "kernels/math/adam.h"

namespace tw::kernels {
namespace {

using TW_ISA::Vec;

template <class R, class G>
void run_of(const AdamParams& params, const AdamTensors& tensors, int64_t begin, int64_t end) {
  using V = Vec<R>;
  const auto c = math::adam_coefficients<R>(params);
  const V grad_scale(c.grad_scale), l2(c.l2), decay(c.decay), beta2(c.beta2), eps(c.eps);
  const V one_minus_beta1(c.one_minus_beta1), one_minus_beta2(c.one_minus_beta2);
  const V step_size(c.step_size), root_correction(c.root_correction), ema_weight(c.ema_weight);
  R* parameter = static_cast<R*>(tensors.parameter.pointer);
  const G* gradient = static_cast<const G*>(tensors.gradient.pointer);
  R* first = static_cast<R*>(tensors.m.pointer);
  R* second = static_cast<R*>(tensors.v.pointer);
  R* ema = static_cast<R*>(tensors.ema.pointer);
  bf16* copy = static_cast<bf16*>(tensors.bf16_copy.pointer);

  for (int64_t i = begin; i < end; i += V::lanes) {
    const int64_t lanes = end - i < V::lanes ? end - i : V::lanes;
    const auto load = [&](const auto* from) {
      return lanes == V::lanes ? V::load(from + i) : V::load(from + i, lanes);
    };
    const auto store = [&](V value, auto* to) {
      lanes == V::lanes ? value.store(to + i) : value.store(to + i, lanes);
    };
    V p = load(parameter);
    V g = load(gradient) * grad_scale;
    g = fma(l2, p, g);
    p = p * decay;
    const V m0 = load(first);
    const V m = fma(one_minus_beta1, g - m0, m0);
    const V v = fma(one_minus_beta2 * g, g, beta2 * load(second));
    p = fma(-step_size, m / fma(sqrt(v), root_correction, eps), p);
    store(p, parameter);
    store(m, first);
    store(v, second);
    if (ema) {
      const V average = load(ema);
      store(fma(ema_weight, p - average, average), ema);
    }
    if (copy) {
      if constexpr (std::is_same_v<R, float>)
        store(p, copy);
      else
        for (int64_t k = i; k < i + lanes; ++k) copy[k] = bf16(static_cast<float>(parameter[k]));
    }
  }
}

void run(const AdamParams& params, const AdamTensors& tensors, int64_t begin, int64_t end) {
  if (tensors.parameter.dtype == DType::f64) return run_of<double, double>(params, tensors, begin, end);
  if (tensors.gradient.dtype == DType::bf16) return run_of<float, bf16>(params, tensors, begin, end);
  run_of<float, float>(params, tensors, begin, end);
}

}  // namespace

template <>
const AdamKernels& kernels_of<AdamKernels, Isa::TW_ISA>() {
  static const AdamKernels kernels{run};
  return kernels;
}

}  // namespace tw::kernels
