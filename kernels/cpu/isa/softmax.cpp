// One row at a time, three passes over a row that stays in L1. The exponentials of f32 and f64 rows wait in
// y; those of bf16 are computed twice, since y would round them before they are divided by their sum.
#include "kernels/cpu/isa/softmax.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/row.h"

namespace tw::kernels {
namespace {

using TW_ISA::keep;
using TW_ISA::load;
using TW_ISA::Real;
using TW_ISA::store;
using TW_ISA::Vec;

template <class T>
void forward_row(const T* x, T* y, int64_t c) {
  using R = Real<T>;
  using V = Vec<R>;
  R top = static_cast<R>(x[0]);
  int64_t j = 0;
  if (c >= V::lanes) {
    V largest = V::load(x);
    for (j = V::lanes; j + V::lanes <= c; j += V::lanes) largest = max(largest, V::load(x + j));
    top = largest.largest();
  }
  for (; j < c; ++j) top = static_cast<R>(x[j]) > top ? static_cast<R>(x[j]) : top;

  V sum(0);
  for (j = 0; j + V::lanes <= c; j += V::lanes) {
    const V p = exp(V::load(x + j) - V(top));
    if constexpr (!std::is_same_v<T, bf16>) p.store(y + j);
    sum += p;
  }
  if (j < c) {
    const V p = exp(V::load(x + j, c - j) - V(top));
    if constexpr (!std::is_same_v<T, bf16>) p.store(y + j, c - j);
    sum += keep(p, c - j);
  }
  const V inverse(1 / sum.sum());
  for (j = 0; j < c; j += V::lanes) {
    V p;
    if constexpr (std::is_same_v<T, bf16>)
      p = exp(load<V>(x + j, c - j) - V(top));
    else
      p = load<V>(y + j, c - j);
    store(p * inverse, y + j, c - j);
  }
}

template <class T>
void backward_row(const T* y, const T* dy, T* dx, int64_t c) {
  using V = Vec<Real<T>>;
  V products(0);
  for (int64_t j = 0; j < c; j += V::lanes)
    products = fma(load<V>(y + j, c - j), load<V>(dy + j, c - j), products);
  const V average(products.sum());
  for (int64_t j = 0; j < c; j += V::lanes)
    store(load<V>(y + j, c - j) * (load<V>(dy + j, c - j) - average), dx + j, c - j);
}

template <class F>
TW_INLINE void with_type(DType dtype, F f) {
  switch (dtype) {
    case DType::f64:
      return f(double{});
    case DType::bf16:
      return f(bf16{});
    default:
      return f(float{});
  }
}

void forward(const View& x, const View& y, int64_t begin, int64_t end) {
  const int64_t c = x.shape[x.shape.rank() - 1];
  with_type(x.dtype, [&]<class T>(T) {
    for (int64_t row = begin; row < end; ++row)
      forward_row(static_cast<const T*>(x.pointer) + row * c, static_cast<T*>(y.pointer) + row * c, c);
  });
}

void backward(const View& y, const View& dy, const View& dx, int64_t begin, int64_t end) {
  const int64_t c = y.shape[y.shape.rank() - 1];
  with_type(y.dtype, [&]<class T>(T) {
    for (int64_t row = begin; row < end; ++row)
      backward_row(static_cast<const T*>(y.pointer) + row * c, static_cast<const T*>(dy.pointer) + row * c,
                   static_cast<T*>(dx.pointer) + row * c, c);
  });
}

}  // namespace

template <>
const SoftmaxKernels& kernels_of<SoftmaxKernels, Isa::TW_ISA>() {
  static const SoftmaxKernels kernels{forward, backward};
  return kernels;
}

}  // namespace tw::kernels
