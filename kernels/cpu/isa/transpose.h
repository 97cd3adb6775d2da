// Blocks of numbers copied with rows and columns exchanged, in registers: log2(lanes) rounds of exchanges
// between rows 1, 2, 4, ... apart instead of a load and a store for each number.
#pragma once

#include "kernels/cpu/isa/vec.h"

namespace tw::kernels::TW_ISA {

// Row i's lane j becomes row j's lane i.
template <class V>
TW_INLINE void transpose(V (&rows)[V::lanes]) {
  constexpr int lanes = V::lanes;
#pragma GCC unroll 4
  for (int step = 1; step < lanes; step *= 2) {
    typename V::Mask upper, lower;
    for (int l = 0; l < lanes; ++l) {
      upper[l] = l & step ? lanes + l - step : l;
      lower[l] = l & step ? lanes + l : l + step;
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
      if (i & step) continue;
      const V a = rows[i], b = rows[i + step];
      rows[i] = __builtin_shuffle(a.native, b.native, upper);
      rows[i + step] = __builtin_shuffle(a.native, b.native, lower);
    }
  }
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
