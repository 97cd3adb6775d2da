// One row at a time: sums of x - x_0 and, from the row in L1, of (x - mean)^2; then y. Backward, with
// u = gamma dy and averages over the row: dx = rstd (u - <u> - xhat <u xhat>).
#include "kernels/cpu/isa/layer_norm.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/row.h"

namespace tw::kernels {
namespace {

using TW_ISA::keep;
using TW_ISA::load;
using TW_ISA::Real;
using TW_ISA::store;
using TW_ISA::Vec;

// An optional parameter in f32, bf16 or f64.
template <class V>
TW_INLINE V parameter(const View& view, int64_t j, int64_t count, double absent) {
  if constexpr (std::is_same_v<V, Vec<double>>) {
    if (!view) return V(absent);
    return load<V>(static_cast<const double*>(view.pointer) + j, count);
  } else {
    if (!view) return V(static_cast<float>(absent));
    if (view.dtype == DType::bf16) return load<V>(static_cast<const bf16*>(view.pointer) + j, count);
    return load<V>(static_cast<const float*>(view.pointer) + j, count);
  }
}

// The sum of f(x_j) over a row, in four chains.
template <class V, class T, class F>
TW_INLINE auto sum_over(const T* x, int64_t c, F f) {
  V sum[4] = {V(0), V(0), V(0), V(0)};
  int64_t j = 0;
  for (; j + 4 * V::lanes <= c; j += 4 * V::lanes)
    for (int k = 0; k < 4; ++k) sum[k] += f(V::load(x + j + k * V::lanes));
  for (; j + V::lanes <= c; j += V::lanes) sum[0] += f(V::load(x + j));
  if (j < c) sum[0] += keep(f(V::load(x + j, c - j)), c - j);
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])).sum();
}

template <class T>
void forward_of(const LayerNormJob& job, int64_t begin, int64_t end) {
  using R = Real<T>;
  using V = Vec<R>;
  const int64_t c = job.c;
  for (int64_t row = begin; row < end; ++row) {
    const T* x = static_cast<const T*>(job.x.pointer) + row * c;
    T* y = static_cast<T*>(job.y.pointer) + row * c;
    const R first = static_cast<R>(x[0]);
    const R mean = first + sum_over<V>(x, c, [&](V v) { return v - V(first); }) / static_cast<R>(c);
    const R squares = sum_over<V>(x, c, [&](V v) { return (v - V(mean)) * (v - V(mean)); });
    const R rstd =
        static_cast<R>(1 / __builtin_sqrt(static_cast<double>(squares) / static_cast<double>(c) + job.eps));
    static_cast<R*>(job.mean.pointer)[row] = mean;
    static_cast<R*>(job.rstd.pointer)[row] = rstd;
    for (int64_t j = 0; j < c; j += V::lanes) {
      const V xhat = (load<V>(x + j, c - j) - V(mean)) * V(rstd);
      store(fma(xhat, parameter<V>(job.gamma, j, c - j, 1), parameter<V>(job.beta, j, c - j, 0)), y + j,
            c - j);
    }
  }
}

template <class T>
void backward_of(const LayerNormJob& job, int64_t begin, int64_t end, Real<T>* partial) {
  using R = Real<T>;
  using V = Vec<R>;
  const int64_t c = job.c;
  if (partial)
    for (int64_t j = 0; j < 2 * c; ++j) partial[j] = 0;
  for (int64_t row = begin; row < end; ++row) {
    const T* x = static_cast<const T*>(job.x.pointer) + row * c;
    const T* dy = static_cast<const T*>(job.dy.pointer) + row * c;
    const V mean(static_cast<const R*>(job.mean.pointer)[row]);
    const V rstd(static_cast<const R*>(job.rstd.pointer)[row]);
    V u_sum(0), product_sum(0);
    for (int64_t j = 0; j < c; j += V::lanes) {
      const int64_t lanes = c - j;
      const V g = load<V>(dy + j, lanes), xhat = (load<V>(x + j, lanes) - mean) * rstd;
      const V u = g * parameter<V>(job.gamma, j, lanes, 1);  // zero beyond the row, as g is
      u_sum += u;
      product_sum = fma(u, xhat, product_sum);
      if (partial) {
        store(fma(g, xhat, load<V>(partial + j, lanes)), partial + j, lanes);
        store(g + load<V>(partial + c + j, lanes), partial + c + j, lanes);
      }
    }
    if (!job.gradients.dx) continue;
    T* dx = static_cast<T*>(job.gradients.dx.pointer) + row * c;
    const V average(u_sum.sum() / static_cast<R>(c)), product(product_sum.sum() / static_cast<R>(c));
    for (int64_t j = 0; j < c; j += V::lanes) {
      const int64_t lanes = c - j;
      const V xhat = (load<V>(x + j, lanes) - mean) * rstd;
      const V u = load<V>(dy + j, lanes) * parameter<V>(job.gamma, j, lanes, 1);
      store(rstd * (u - average - xhat * product), dx + j, lanes);
    }
  }
}

void forward(const LayerNormJob& job, int64_t begin, int64_t end) {
  switch (job.x.dtype) {
    case DType::f64:
      return forward_of<double>(job, begin, end);
    case DType::bf16:
      return forward_of<bf16>(job, begin, end);
    default:
      return forward_of<float>(job, begin, end);
  }
}

void backward(const LayerNormJob& job, int64_t begin, int64_t end, void* partial) {
  switch (job.x.dtype) {
    case DType::f64:
      return backward_of<double>(job, begin, end, static_cast<double*>(partial));
    case DType::bf16:
      return backward_of<bf16>(job, begin, end, static_cast<float*>(partial));
    default:
      return backward_of<float>(job, begin, end, static_cast<float*>(partial));
  }
}

}  // namespace

template <>
const LayerNormKernels& kernels_of<LayerNormKernels, Isa::TW_ISA>() {
  static const LayerNormKernels kernels{forward, backward};
  return kernels;
}

}  // namespace tw::kernels
