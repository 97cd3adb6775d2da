#include "kernels/cpu/isa/sampler_step.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/vec.h"
#include "kernels/math/sampler_step.h"

namespace tw::kernels {
namespace {

using TW_ISA::Vec;

template <class T>
using Compute = Vec<std::conditional_t<std::is_same_v<T, double>, double, float>>;

template <class V>
TW_INLINE V every_lane(double value) {
  return V(static_cast<decltype(V{}.sum())>(value));
}

// f(i, count) for whole registers (count = lanes) and then for the rest.
template <class V, class F>
TW_INLINE void for_registers(int64_t begin, int64_t end, F f) {
  int64_t i = begin;
  for (; i + V::lanes <= end; i += V::lanes) f(i, int64_t{V::lanes});
  if (i < end) f(i, end - i);
}
template <class V, class T>
TW_INLINE V load(const T* from, int64_t count) {
  return count == V::lanes ? V::load(from) : V::load(from, count);
}
template <class V, class T>
TW_INLINE void store(V value, T* to, int64_t count) {
  if (count == V::lanes)
    value.store(to);
  else
    value.store(to, count);
}

template <class T>
void step_of(const SamplerStep& s, const SamplerArrays& arrays, int64_t begin, int64_t end) {
  using V = Compute<T>;
  const V p = every_lane<V>(s.x0_from_x), q = every_lane<V>(s.x0_from_output), limit = every_lane<V>(s.clip),
          scale = every_lane<V>(s.x0_scale), from_x0 = every_lane<V>(s.next_from_x0),
          from_x = every_lane<V>(s.next_from_x), from_output = every_lane<V>(s.next_from_output),
          from_noise = every_lane<V>(s.next_from_noise), from_gradient = every_lane<V>(s.next_from_gradient);
  const T* x_in = static_cast<const T*>(arrays.x.pointer);
  const T* output_in = static_cast<const T*>(arrays.output.pointer);
  const T* noise_in = s.next_from_noise == 0 ? nullptr : static_cast<const T*>(arrays.noise.pointer);
  const T* gradient_in = static_cast<const T*>(arrays.gradient.pointer);
  T* x0_out = static_cast<T*>(arrays.x0.pointer);
  T* next_out = static_cast<T*>(arrays.next.pointer);
  for_registers<V>(begin, end, [&](int64_t i, int64_t count) {
    const V x = load<V>(x_in + i, count), o = load<V>(output_in + i, count);
    const V x0 = scale * math::clip(math::unclipped_x0(p, q, x, o), limit);
    V next = fma(from_x0, x0, fma(from_x, x, from_output * o));
    if (noise_in) next = fma(from_noise, load<V>(noise_in + i, count), next);
    if (gradient_in) next = fma(from_gradient, load<V>(gradient_in + i, count), next);
    if (x0_out) store(x0, x0_out + i, count);
    store(next, next_out + i, count);
  });
}

template <class T>
void x0_forward_of(const SamplerStep& s, const View& x, const View& output, const View& x0, int64_t begin,
                   int64_t end) {
  using V = Compute<T>;
  const V p = every_lane<V>(s.x0_from_x), q = every_lane<V>(s.x0_from_output), limit = every_lane<V>(s.clip),
          scale = every_lane<V>(s.x0_scale);
  const T* x_in = static_cast<const T*>(x.pointer);
  const T* output_in = static_cast<const T*>(output.pointer);
  T* x0_out = static_cast<T*>(x0.pointer);
  for_registers<V>(begin, end, [&](int64_t i, int64_t count) {
    const V u = math::unclipped_x0(p, q, load<V>(x_in + i, count), load<V>(output_in + i, count));
    store(scale * math::clip(u, limit), x0_out + i, count);
  });
}

template <class T>
void x0_backward_of(const SamplerStep& s, const View& x, const View& output, const View& dx0, const View& dx,
                    const View& doutput, int64_t begin, int64_t end) {
  using V = Compute<T>;
  const V p = every_lane<V>(s.x0_from_x), q = every_lane<V>(s.x0_from_output), limit = every_lane<V>(s.clip),
          to_x = every_lane<V>(s.x0_scale * s.x0_from_x),
          to_output = every_lane<V>(s.x0_scale * s.x0_from_output);
  const T* x_in = static_cast<const T*>(x.pointer);
  const T* output_in = static_cast<const T*>(output.pointer);
  const T* dx0_in = static_cast<const T*>(dx0.pointer);
  T* dx_out = static_cast<T*>(dx.pointer);
  T* doutput_out = static_cast<T*>(doutput.pointer);
  for_registers<V>(begin, end, [&](int64_t i, int64_t count) {
    const V u = math::unclipped_x0(p, q, load<V>(x_in + i, count), load<V>(output_in + i, count));
    const V passed = select(abs(u) <= limit, load<V>(dx0_in + i, count), every_lane<V>(0));
    if (dx_out) store(to_x * passed, dx_out + i, count);
    if (doutput_out) store(to_output * passed, doutput_out + i, count);
  });
}

void step(const SamplerStep& s, const SamplerArrays& arrays, int64_t begin, int64_t end) {
  switch (arrays.x.dtype) {
    case DType::f64:
      return step_of<double>(s, arrays, begin, end);
    case DType::bf16:
      return step_of<bf16>(s, arrays, begin, end);
    default:
      return step_of<float>(s, arrays, begin, end);
  }
}

void x0_forward(const SamplerStep& s, const View& x, const View& output, const View& x0, int64_t begin,
                int64_t end) {
  switch (x.dtype) {
    case DType::f64:
      return x0_forward_of<double>(s, x, output, x0, begin, end);
    case DType::bf16:
      return x0_forward_of<bf16>(s, x, output, x0, begin, end);
    default:
      return x0_forward_of<float>(s, x, output, x0, begin, end);
  }
}

void x0_backward(const SamplerStep& s, const View& x, const View& output, const View& dx0, const View& dx,
                 const View& doutput, int64_t begin, int64_t end) {
  switch (x.dtype) {
    case DType::f64:
      return x0_backward_of<double>(s, x, output, dx0, dx, doutput, begin, end);
    case DType::bf16:
      return x0_backward_of<bf16>(s, x, output, dx0, dx, doutput, begin, end);
    default:
      return x0_backward_of<float>(s, x, output, dx0, dx, doutput, begin, end);
  }
}

}  // namespace

template <>
const SamplerStepKernels& kernels_of<SamplerStepKernels, Isa::TW_ISA>() {
  static const SamplerStepKernels kernels{step, x0_forward, x0_backward};
  return kernels;
}

}  // namespace tw::kernels
