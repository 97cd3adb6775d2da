#include "kernels/cpu/isa/mse_loss.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/map.h"

namespace tw::kernels {
namespace {

using TW_ISA::Compute;
using TW_ISA::map;

template <class T>
double sum_of(const T* a, const T* b, int64_t count) {
  using V = Compute<T>;
  V sum[4] = {V(0), V(0), V(0), V(0)};
  int64_t i = 0;
  for (; i + 4 * V::lanes <= count; i += 4 * V::lanes)
    for (int k = 0; k < 4; ++k) {
      const V d = V::load(a + i + k * V::lanes) - V::load(b + i + k * V::lanes);
      sum[k] = fma(d, d, sum[k]);
    }
  for (; i < count; i += V::lanes) {
    const int64_t left = count - i < V::lanes ? count - i : V::lanes;
    const V d = V::load(a + i, left) - V::load(b + i, left);
    sum[0] = fma(d, d, sum[0]);
  }
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])).sum();
}

double sum(DType dtype, const void* a, const void* b, int64_t count) {
  auto as = [&]<class T>(T) { return sum_of(static_cast<const T*>(a), static_cast<const T*>(b), count); };
  if (dtype == DType::f64) return as(double{});
  if (dtype == DType::bf16) return as(bf16{});
  return as(float{});
}

void backward(DType dtype, double factor, const void* a, const void* b, void* da, int64_t count) {
  auto as = [&]<class T>(T) {
    using V = Compute<T>;
    const V scale(factor);
    map(static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(da), 0, count,
        [=](V u, V v) { return scale * (u - v); });
  };
  if (dtype == DType::f64) return as(double{});
  if (dtype == DType::bf16) return as(bf16{});
  as(float{});
}

}  // namespace

template <>
const MseKernels& kernels_of<MseKernels, Isa::TW_ISA>() {
  static const MseKernels kernels{sum, backward};
  return kernels;
}

}  // namespace tw::kernels
