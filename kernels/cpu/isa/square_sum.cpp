#include "kernels/cpu/isa/square_sum.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/vec.h"

namespace tw::kernels {
namespace {

using TW_ISA::Vec;

constexpr int64_t run_length = 1024;  // elements summed in f32 before they join the f64 sum

template <class V, class T>
TW_INLINE V load(const T* from, int64_t count) {
  return count >= V::lanes ? V::load(from) : V::load(from, count);
}

template <class T>
double square_sum_of(const View& view, int64_t begin, int64_t end) {
  using V = Vec<std::conditional_t<std::is_same_v<T, double>, double, float>>;
  const T* x = static_cast<const T*>(view.pointer);
  double total = 0;
  for (int64_t run = begin; run < end; run += run_length) {
    const int64_t last = end - run < run_length ? end : run + run_length;
    V sum[4] = {V(0), V(0), V(0), V(0)};
    int64_t i = run;
    for (; i + 4 * V::lanes <= last; i += 4 * V::lanes)
      for (int k = 0; k < 4; ++k) {
        const V v = V::load(x + i + k * V::lanes);
        sum[k] = fma(v, v, sum[k]);
      }
    for (; i < last; i += V::lanes) {
      const V v = load<V>(x + i, last - i);
      sum[0] = fma(v, v, sum[0]);
    }
    total += static_cast<double>(((sum[0] + sum[1]) + (sum[2] + sum[3])).sum());
  }
  return total;
}

template <class T>
bool all_finite_of(const View& view, int64_t begin, int64_t end) {
  using V = Vec<std::conditional_t<std::is_same_v<T, double>, double, float>>;
  const T* x = static_cast<const T*>(view.pointer);
  V sum(0);  // 0 x is NaN where x is not finite, and NaN stays
  for (int64_t i = begin; i < end; i += V::lanes) sum = fma(load<V>(x + i, end - i), V(0), sum);
  return sum.sum() == 0;
}

double square_sum(const View& x, int64_t begin, int64_t end) {
  switch (x.dtype) {
    case DType::f64:
      return square_sum_of<double>(x, begin, end);
    case DType::bf16:
      return square_sum_of<bf16>(x, begin, end);
    default:
      return square_sum_of<float>(x, begin, end);
  }
}

bool all_finite(const View& x, int64_t begin, int64_t end) {
  switch (x.dtype) {
    case DType::f64:
      return all_finite_of<double>(x, begin, end);
    case DType::bf16:
      return all_finite_of<bf16>(x, begin, end);
    default:
      return all_finite_of<float>(x, begin, end);
  }
}

}  // namespace

template <>
const SquareSumKernels& kernels_of<SquareSumKernels, Isa::TW_ISA>() {
  static const SquareSumKernels kernels{square_sum, all_finite};
  return kernels;
}

}  // namespace tw::kernels
