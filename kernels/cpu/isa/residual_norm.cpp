#include "kernels/cpu/isa/residual_norm.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/vec.h"

namespace tw::kernels {
namespace {

using TW_ISA::Vec;

template <class T>
using Compute = Vec<std::conditional_t<std::is_same_v<T, double>, double, float>>;

template <class T>
double sum_of_squares_of(const View& y, const View& a, int64_t begin, int64_t end) {
  using V = Compute<T>;
  const T* y_in = static_cast<const T*>(y.pointer);
  const T* a_in = static_cast<const T*>(a.pointer);
  V sum(0);
  int64_t i = begin;
  for (; i + V::lanes <= end; i += V::lanes) {
    const V r = V::load(y_in + i) - V::load(a_in + i);
    sum = fma(r, r, sum);
  }
  if (i < end) {
    const V r = V::load(y_in + i, end - i) - V::load(a_in + i, end - i);
    sum = fma(r, r, sum);
  }
  return static_cast<double>(sum.sum());
}

template <class T>
void backward_of(double factor, const View& y, const View& a, const View& da, int64_t begin, int64_t end) {
  using V = Compute<T>;
  const V f(static_cast<decltype(V{}.sum())>(factor));
  const T* y_in = static_cast<const T*>(y.pointer);
  const T* a_in = static_cast<const T*>(a.pointer);
  T* out = static_cast<T*>(da.pointer);
  int64_t i = begin;
  for (; i + V::lanes <= end; i += V::lanes) (f * (V::load(y_in + i) - V::load(a_in + i))).store(out + i);
  if (i < end) (f * (V::load(y_in + i, end - i) - V::load(a_in + i, end - i))).store(out + i, end - i);
}

double sum_of_squares(const View& y, const View& a, int64_t begin, int64_t end) {
  switch (y.dtype) {
    case DType::f64:
      return sum_of_squares_of<double>(y, a, begin, end);
    case DType::bf16:
      return sum_of_squares_of<bf16>(y, a, begin, end);
    default:
      return sum_of_squares_of<float>(y, a, begin, end);
  }
}

void backward(double factor, const View& y, const View& a, const View& da, int64_t begin, int64_t end) {
  switch (y.dtype) {
    case DType::f64:
      return backward_of<double>(factor, y, a, da, begin, end);
    case DType::bf16:
      return backward_of<bf16>(factor, y, a, da, begin, end);
    default:
      return backward_of<float>(factor, y, a, da, begin, end);
  }
}

}  // namespace

template <>
const ResidualNormKernels& kernels_of<ResidualNormKernels, Isa::TW_ISA>() {
  static const ResidualNormKernels kernels{sum_of_squares, backward};
  return kernels;
}

}  // namespace tw::kernels
