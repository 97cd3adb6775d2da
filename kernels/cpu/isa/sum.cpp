#include "kernels/cpu/isa/sum.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/map.h"

namespace tw::kernels {
namespace {

using TW_ISA::Compute;

template <class T>
double across_of(const T* x, const StridedLoop& rows, int64_t first, int64_t last, int64_t length) {
  using V = Compute<T>;
  V sum[4] = {V(0), V(0), V(0), V(0)};  // four chains hide the latency of an addition
  const int64_t step = rows.inner_stride(0);
  for_each_run<1>(rows, first, last, [&](int64_t, int64_t count, const int64_t* offsets) {
    for (int64_t r = 0; r < count; ++r) {
      const T* row = x + offsets[0] + r * step;
      int64_t i = 0;
      for (; i + 4 * V::lanes <= length; i += 4 * V::lanes)
        for (int k = 0; k < 4; ++k) sum[k] += V::load(row + i + k * V::lanes);
      for (; i + V::lanes <= length; i += V::lanes) sum[0] += V::load(row + i);
      if (i < length) sum[1] += V::load(row + i, length - i);
    }
  });
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])).sum();
}

// `vectors` registers of sums, the last of them with `tail` lanes (0: all).
template <int vectors, class T, class S>
TW_INLINE void down_block(const T* x, const StridedLoop& rows, int64_t first, int64_t last, int64_t tail,
                          S* sums) {
  using V = Compute<T>;
  V sum[vectors];
  for (V& s : sum) s = V(0);
  const int64_t step = rows.inner_stride(0);
  for_each_run<1>(rows, first, last, [&](int64_t, int64_t count, const int64_t* offsets) {
    const T* row = x + offsets[0];
    for (int64_t r = 0; r < count; ++r, row += step)
      for (int k = 0; k < vectors; ++k)
        sum[k] += tail && k == vectors - 1 ? V::load(row + k * V::lanes, tail) : V::load(row + k * V::lanes);
  });
  for (int k = 0; k < vectors; ++k) {
    if (tail && k == vectors - 1)
      sum[k].store(sums + k * V::lanes, tail);
    else
      sum[k].store(sums + k * V::lanes);
  }
}

template <class T, class S>
void down_of(const T* x, const StridedLoop& rows, int64_t first, int64_t last, int64_t length, S* sums) {
  constexpr int64_t lanes = Compute<T>::lanes;
  int64_t i = 0;
  for (; i + 4 * lanes <= length; i += 4 * lanes) down_block<4>(x + i, rows, first, last, 0, sums + i);
  for (; i + lanes <= length; i += lanes) down_block<1>(x + i, rows, first, last, 0, sums + i);
  if (i < length) down_block<1>(x + i, rows, first, last, length - i, sums + i);
}

double across(DType dtype, const void* x, const StridedLoop& rows, int64_t first, int64_t last,
              int64_t length) {
  if (dtype == DType::f64) return across_of(static_cast<const double*>(x), rows, first, last, length);
  if (dtype == DType::bf16) return across_of(static_cast<const bf16*>(x), rows, first, last, length);
  return across_of(static_cast<const float*>(x), rows, first, last, length);
}

void down(DType dtype, const void* x, const StridedLoop& rows, int64_t first, int64_t last, int64_t length,
          void* sums) {
  if (dtype == DType::f64)
    return down_of(static_cast<const double*>(x), rows, first, last, length, static_cast<double*>(sums));
  if (dtype == DType::bf16)
    return down_of(static_cast<const bf16*>(x), rows, first, last, length, static_cast<float*>(sums));
  down_of(static_cast<const float*>(x), rows, first, last, length, static_cast<float*>(sums));
}

}  // namespace

template <>
const SumKernels& kernels_of<SumKernels, Isa::TW_ISA>() {
  static const SumKernels kernels{across, down};
  return kernels;
}

}  // namespace tw::kernels
