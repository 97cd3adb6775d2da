// Elementwise loops over contiguous arrays, for the files under cpu/isa/: y[i] = f(x[i]) and z[i] = f(x[i],
// y[i]).
//
// The last few elements go through the same vector code as the others, so that an element's result does not
// depend on where a thread's part begins.
#pragma once

#include "kernels/cpu/isa/vec.h"

namespace tw::kernels::TW_ISA {

// What elements stored as T are computed in.
template <class T>
using Compute = Vec<std::conditional_t<std::is_same_v<T, double>, double, float>>;

template <class T, class F>
TW_INLINE void map(const T* x, T* y, int64_t begin, int64_t end, F f) {
  using V = Compute<T>;
  int64_t i = begin;
  for (; i + V::lanes <= end; i += V::lanes) f(V::load(x + i)).store(y + i);
  if (i < end) f(V::load(x + i, end - i)).store(y + i, end - i);
}

template <class T, class F>
TW_INLINE void map(const T* x, const T* y, T* z, int64_t begin, int64_t end, F f) {
  using V = Compute<T>;
  int64_t i = begin;
  for (; i + V::lanes <= end; i += V::lanes) f(V::load(x + i), V::load(y + i)).store(z + i);
  if (i < end) f(V::load(x + i, end - i), V::load(y + i, end - i)).store(z + i, end - i);
}

}  // namespace tw::kernels::TW_ISA
