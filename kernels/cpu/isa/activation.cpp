#include "kernels/cpu/isa/activation.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/vec.h"
#include "kernels/math/activation.h"

namespace tw::kernels {
namespace {

using TW_ISA::Vec;

// Calls f with Vec<float> or Vec<double>, and the storage type, of a dtype.
template <class T>
using Compute = Vec<std::conditional_t<std::is_same_v<T, double>, double, float>>;

template <class T, class F>
TW_INLINE void map(const View& x, const View& y, int64_t begin, int64_t end, F f) {
  using V = Compute<T>;
  const T* in = static_cast<const T*>(x.pointer);
  T* out = static_cast<T*>(y.pointer);
  int64_t i = begin;
  for (; i + V::lanes <= end; i += V::lanes) f(V::load(in + i)).store(out + i);
  if (i < end) f(V::load(in + i, end - i)).store(out + i, end - i);
}

template <class T>
void forward_of(const ActivationParams& params, const View& x, const View& y, int64_t begin, int64_t end) {
  using V = Compute<T>;
  switch (params.kind) {
    case Activation::silu:
      return map<T>(x, y, begin, end, [](V v) { return math::silu(v); });
    case Activation::sigmoid:
      return map<T>(x, y, begin, end, [](V v) { return math::sigmoid(v); });
    default:
      fail("activation_forward", "this activation is not there yet");
  }
}

template <class T>
void backward_of(const ActivationParams& params, const View& x, const View& dy, const View& dx, int64_t begin,
                 int64_t end) {
  using V = Compute<T>;
  const T* in = static_cast<const T*>(x.pointer);
  const T* grad = static_cast<const T*>(dy.pointer);
  T* out = static_cast<T*>(dx.pointer);
  if (params.kind != Activation::silu) fail("activation_backward", "this activation is not there yet");
  int64_t i = begin;
  for (; i + V::lanes <= end; i += V::lanes)
    (V::load(grad + i) * math::silu_derivative(V::load(in + i))).store(out + i);
  if (i < end)
    (V::load(grad + i, end - i) * math::silu_derivative(V::load(in + i, end - i))).store(out + i, end - i);
}

void forward(const ActivationParams& params, const View& x, const View& y, int64_t begin, int64_t end) {
  switch (x.dtype) {
    case DType::f64:
      return forward_of<double>(params, x, y, begin, end);
    case DType::bf16:
      return forward_of<bf16>(params, x, y, begin, end);
    default:
      return forward_of<float>(params, x, y, begin, end);
  }
}

void backward(const ActivationParams& params, const View& x, const View& dy, const View& dx, int64_t begin,
              int64_t end) {
  switch (x.dtype) {
    case DType::f64:
      return backward_of<double>(params, x, dy, dx, begin, end);
    case DType::bf16:
      return backward_of<bf16>(params, x, dy, dx, begin, end);
    default:
      return backward_of<float>(params, x, dy, dx, begin, end);
  }
}

}  // namespace

template <>
const ActivationKernels& kernels_of<ActivationKernels, Isa::TW_ISA>() {
  static const ActivationKernels kernels{forward, backward};
  return kernels;
}

}  // namespace tw::kernels
