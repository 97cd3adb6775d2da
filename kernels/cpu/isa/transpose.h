// Blocks of numbers copied with rows and columns exchanged, in registers: log2(lanes) rounds of exchanges
// between rows 1, 2, 4, ... apart instead of a load and a store for each number.
#pragma once

#include <utility>

#include "kernels/cpu/isa/vec.h"

namespace tw::kernels::TW_ISA {

// Lanes l... as one vector. Filled in a loop they would be put together anew at every use, GCC 12 does not
// fold them.
template <class V, class Lane, int... l>
TW_INLINE typename V::Mask lane_numbers(Lane lane, std::integer_sequence<int, l...>) {
  return typename V::Mask{lane(std::integral_constant<int, l>())...};
}

template <class V, int step>
TW_INLINE void exchange(V (&rows)[V::lanes]) {
  constexpr int lanes = V::lanes;
  const auto all = std::make_integer_sequence<int, lanes>();
  const auto upper = lane_numbers<V>([](auto l) { return l & step ? lanes + l - step : +l; }, all);
  const auto lower = lane_numbers<V>([](auto l) { return l & step ? lanes + l : l + step; }, all);
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) {
    if (i & step) continue;
    const V a = rows[i], b = rows[i + step];
    rows[i] = __builtin_shuffle(a.native, b.native, upper);
    rows[i + step] = __builtin_shuffle(a.native, b.native, lower);
  }
}

// Row i's lane j becomes row j's lane i.
template <class V, int step = 1>
TW_INLINE void transpose(V (&rows)[V::lanes]) {
  exchange<V, step>(rows);
  if constexpr (2 * step < V::lanes) transpose<V, 2 * step>(rows);
}

// to(c, r) = from(r, c) for r < rows, c < columns; rows of either lie `stride` numbers apart.
template <class T>
TW_INLINE void copy_transposed(const T* from, int64_t from_stride, int64_t rows, int64_t columns, float* to,
                               int64_t to_stride) {
  using V = Vec<float>;
  constexpr int64_t lanes = V::lanes;
  for (int64_t r = 0; r < rows; r += lanes)
    for (int64_t c = 0; c < columns; c += lanes) {
      if (r + lanes <= rows && c + lanes <= columns) {
        V block[lanes];
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) block[i] = V::load(from + (r + i) * from_stride + c);
        transpose(block);
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) block[i].store(to + (c + i) * to_stride + r);
        continue;
      }
      for (int64_t i = r; i < rows && i < r + lanes; ++i)
        for (int64_t j = c; j < columns && j < c + lanes; ++j)
          to[j * to_stride + i] = static_cast<float>(from[i * from_stride + j]);
    }
}

}  // namespace tw::kernels::TW_ISA
