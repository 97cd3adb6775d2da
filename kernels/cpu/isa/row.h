// Parts of a row that need not fill a vector, for the kernels that work on one row at a time.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/cpu/isa/vec.h"

namespace tw::kernels::TW_ISA {

// What values stored as T are computed in.
template <class T>
using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class V, class T>
TW_INLINE V load(const T* from, int64_t count) {
  return count >= V::lanes ? V::load(from) : V::load(from, count);
}
template <class V, class T>
TW_INLINE void store(V v, T* to, int64_t count) {
  count >= V::lanes ? v.store(to) : v.store(to, count);
}

// v with the lanes from `count` on set to zero.
template <class V>
TW_INLINE V keep(V v, int64_t count) {
  if (count < V::lanes)
    for (int64_t k = count; k < V::lanes; ++k) v.native[k] = 0;
  return v;
}

}  // namespace tw::kernels::TW_ISA
