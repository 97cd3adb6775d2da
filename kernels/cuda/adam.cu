// Adam and AdamW with the average of the weights, in one pass over memory: the arithmetic of
// kernels/cpu/isa/adam.cpp, in its order; some 60 tensors a launch. The coefficients come with the launch, or
// from memory (update_numbers.cu).
#include "kernels/cuda/element.h"
#include "kernels/cuda/tensor_list.h"
#include "kernels/op/update_numbers.h"

namespace tw::cuda {
namespace {

using kernels::UpdateNumbers;
template <class R>
using Coefficients = kernels::math::AdamCoefficients<R>;

// R: of the parameter; G: of the gradient in memory.
template <class R, class G>
struct Slot {
  int64_t n;
  R *parameter, *first, *second, *ema;
  const typename Element<G>::Memory* gradient;
  __nv_bfloat16* copy;
};

template <class R, class G>
__global__ void step_kernel(Coefficients<R> c, const UpdateNumbers* numbers, TensorList<Slot<R, G>> list) {
  if (numbers) {
    if (!numbers->finite) return;
    if constexpr (sizeof(R) == sizeof(double))
      c = numbers->f64;
    else
      c = numbers->f32;
  }
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
const char* run(const Coefficients<R>& c, const UpdateNumbers* numbers, const kernels::AdamTensors* tensors,
                int64_t count) {
  using List = TensorList<Slot<R, G>>;
  List list;
  const auto flush = [&]() -> const char* {
    if (list.blocks() > 0) launch(step_kernel<R, G>, list.blocks(), threads, c, numbers, list);
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

// numbers: in memory, or null.
TW_CUDA_EXPORT tw_cuda_adam_step(const kernels::AdamParams* params, const View* numbers,
                                 const kernels::AdamTensors* const* tensors, const int64_t* count) {
  const auto* in_memory = static_cast<const UpdateNumbers*>(numbers->pointer);
  const auto c = kernels::math::adam_coefficients<float>(*params);
  if (const char* failed = run<float, float>(c, in_memory, *tensors, *count)) return failed;
  if (const char* failed = run<float, bf16>(c, in_memory, *tensors, *count)) return failed;
  if (const char* failed = run<float, f16>(c, in_memory, *tensors, *count)) return failed;
  return run<double, double>(kernels::math::adam_coefficients<double>(*params), in_memory, *tensors, *count);
}

}  // namespace tw::cuda
