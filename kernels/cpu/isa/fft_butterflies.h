// Transforms of r complex vectors in registers, and the levels that they make up. A line's number is a pair
// of vectors, the real parts and the imaginary parts of as many lines as there are lanes: nothing is
// shuffled.
#pragma once

#include "kernels/cpu/isa/fft.h"
#include "kernels/cpu/isa/vec.h"

namespace tw::kernels::TW_ISA {

template <class T>
struct Complex {
  Vec<T> re, im;

  TW_INLINE static Complex load(const T* from) {
    return {Vec<T>::load(from), Vec<T>::load(from + Vec<T>::lanes)};
  }
  TW_INLINE void store(T* to) const {
    re.store(to);
    im.store(to + Vec<T>::lanes);
  }
  TW_INLINE friend Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
  TW_INLINE friend Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
  TW_INLINE Complex times(const T* w) const {  // by the complex number at w
    const Vec<T> c(w[0]), s(w[1]);
    return {fma(re, c, -(im * s)), fma(re, s, im * c)};
  }
  TW_INLINE Complex scaled(Vec<T> by) const { return {re * by, im * by}; }
  TW_INLINE Complex times_minus_i() const { return {im, -re}; }
};

template <class T>
TW_INLINE void dft4(Complex<T>& a0, Complex<T>& a1, Complex<T>& a2, Complex<T>& a3) {
  const Complex<T> s02 = a0 + a2, d02 = a0 - a2, s13 = a1 + a3, d13 = (a1 - a3).times_minus_i();
  a0 = s02 + s13, a1 = d02 + d13, a2 = s02 - s13, a3 = d02 - d13;
}

// a[j] becomes sum over k of a[k] e^(-2 pi i j k / r). roots (for odd r): cos, then sin of 2 pi j / r.
// `radix` is the number, a constant where it is not 0.
template <int constant, class T>
TW_INLINE void dft(Complex<T>* a, int radix, const T* roots) {
  using V = Vec<T>;
  if constexpr (constant == 2) {
    const Complex<T> a0 = a[0];
    a[0] = a0 + a[1], a[1] = a0 - a[1];
  } else if constexpr (constant == 4) {
    dft4(a[0], a[1], a[2], a[3]);
  } else if constexpr (constant == 8) {
    dft4(a[0], a[2], a[4], a[6]);
    dft4(a[1], a[3], a[5], a[7]);
    const V s(static_cast<T>(0.70710678118654752440));
    const Complex<T> o0 = a[1], o2 = a[5].times_minus_i();
    const Complex<T> o1{(a[3].re + a[3].im) * s, (a[3].im - a[3].re) * s};
    const Complex<T> o3{(a[7].im - a[7].re) * s, (a[7].re + a[7].im) * -s};
    const Complex<T> e0 = a[0], e1 = a[2], e2 = a[4], e3 = a[6];
    a[0] = e0 + o0, a[1] = e1 + o1, a[2] = e2 + o2, a[3] = e3 + o3;
    a[4] = e0 - o0, a[5] = e1 - o1, a[6] = e2 - o2, a[7] = e3 - o3;
  } else {
    // Odd: a[j] and a[r - j] meet the same cosines and opposite sines.
    constexpr int most = constant ? constant : 31;
    const int r = constant ? constant : radix;
    Complex<T> sum[most / 2], difference[most / 2], all = a[0];
#pragma GCC unroll 3
    for (int j = 1; j <= r / 2; ++j) {
      sum[j - 1] = a[j] + a[r - j];
      difference[j - 1] = (a[j] - a[r - j]).times_minus_i();
      all = all + sum[j - 1];
    }
#pragma GCC unroll 3
    for (int q = 1; q <= r / 2; ++q) {
      Complex<T> u = a[0], v{V(0), V(0)};
      int at = 0;
#pragma GCC unroll 3
      for (int j = 0; j < r / 2; ++j) {
        at += q;
        if (at >= r) at -= r;
        const V c(roots[at]), s(roots[r + at]);
        u.re = fma(sum[j].re, c, u.re), u.im = fma(sum[j].im, c, u.im);
        v.re = fma(difference[j].re, s, v.re), v.im = fma(difference[j].im, s, v.im);
      }
      a[q] = u + v, a[r - q] = u - v;
    }
    a[0] = all;
  }
}

// One block of a level: m butterflies of r numbers that lie m apart.
template <int constant, class T>
TW_INLINE void level_block(T* numbers, int64_t m, int radix, const T* twiddles, const T* roots) {
  constexpr int64_t pair = 2 * Vec<T>::lanes;
  const int r = constant ? constant : radix;
  Complex<T> a[constant ? constant : 31];
#pragma GCC unroll 8
  for (int j = 0; j < r; ++j) a[j] = Complex<T>::load(numbers + j * m * pair);
  dft<constant>(a, r, roots);
#pragma GCC unroll 8
  for (int j = 0; j < r; ++j) a[j].store(numbers + j * m * pair);
  for (int64_t k = 1; k < m; ++k) {
    T* at = numbers + k * pair;
    const T* w = twiddles + k * (r - 1) * 2;
    a[0] = Complex<T>::load(at);
#pragma GCC unroll 8
    for (int j = 1; j < r; ++j) a[j] = Complex<T>::load(at + j * m * pair).times(w + (j - 1) * 2);
    dft<constant>(a, r, roots);
#pragma GCC unroll 8
    for (int j = 0; j < r; ++j) a[j].store(at + j * m * pair);
  }
}

template <class T>
void level(T* numbers, int64_t blocks, int64_t m, int radix, const T* twiddles, const T* roots) {
  const int64_t block = radix * m * 2 * Vec<T>::lanes;
  const auto each = [&]<int constant>() __attribute__((always_inline)) {
    for (int64_t b = 0; b < blocks; ++b)
      level_block<constant>(numbers + b * block, m, radix, twiddles, roots);
  };
  switch (radix) {
    case 2:
      return each.template operator()<2>();
    case 3:
      return each.template operator()<3>();
    case 4:
      return each.template operator()<4>();
    case 5:
      return each.template operator()<5>();
    case 7:
      return each.template operator()<7>();
    case 8:
      return each.template operator()<8>();
    default:
      return each.template operator()<0>();
  }
}

// Butterflies [begin, end) of the innermost level, of the numbers that read(k) gives.
template <int r, class T, class Read>
TW_INLINE void first_level(const FftTables<T>& tables, T* numbers, int64_t begin, int64_t end,
                           const Read& read) {
  constexpr int64_t pair = 2 * Vec<T>::lanes;
  const int64_t step = tables.length / r;
  for (int64_t b = begin; b < end; ++b) {
    Complex<T> a[r];
    const int64_t k = tables.source[b];
#pragma GCC unroll 8
    for (int j = 0; j < r; ++j) a[j] = read(k + j * step);
    dft<r>(a, r, static_cast<const T*>(nullptr));
#pragma GCC unroll 8
    for (int j = 0; j < r; ++j) a[j].store(numbers + (b * r + j) * pair);
  }
}

// The outermost level, whose numbers go to write(k, z) and no longer to memory.
template <int r, class T, class Write>
TW_INLINE void last_level(const FftTables<T>& tables, const T* numbers, const Write& write) {
  constexpr int64_t pair = 2 * Vec<T>::lanes;
  const int64_t m = tables.length / r;
  for (int64_t k = 0; k < m; ++k) {
    const T* w = tables.twiddles[0] + k * (r - 1) * 2;
    Complex<T> a[r];
    a[0] = Complex<T>::load(numbers + k * pair);
#pragma GCC unroll 8
    for (int j = 1; j < r; ++j) a[j] = Complex<T>::load(numbers + (k + j * m) * pair).times(w + (j - 1) * 2);
    dft<r>(a, r, static_cast<const T*>(nullptr));
#pragma GCC unroll 8
    for (int j = 0; j < r; ++j) write(k + j * m, a[j]);
  }
}

// Numbers of all lanes that take 32 KiB.
template <class T>
constexpr int64_t fits_l1 = 32768 / (2 * TW_VECTOR_BYTES);

// The levels from `first` on, of `length` numbers from `at` on, in place. Parts that fit the L1 cache are
// finished before others are begun. innermost(begin, end) does the innermost level of these numbers.
template <class T, class Innermost>
void levels(const FftTables<T>& tables, T* numbers, int first, int64_t at, int64_t length,
            const Innermost& innermost) {
  constexpr int64_t pair = 2 * Vec<T>::lanes;
  if (first == tables.levels) return;
  int inside = first + 1;  // levels from here on are done by then
  if (length > fits_l1<T> && inside < tables.levels) {
    const int64_t part = length / tables.radices[first];
    for (int64_t j = 0; j < tables.radices[first]; ++j)
      levels(tables, numbers, inside, at + j * part, part, innermost);
  } else {
    inside = tables.levels - 1;
    innermost(at, at + length);
  }
  int64_t m = 1;
  for (int l = inside; l < tables.levels; ++l) m *= tables.radices[l];
  for (int l = inside - 1; l >= first; --l) {
    const int r = tables.radices[l];
    level(numbers + at * pair, length / (r * m), m, r, tables.twiddles[l], tables.roots[l]);
    m *= r;
  }
}

// In place, the numbers put where `tables` says.
template <class T>
void transform(const FftTables<T>& tables, T* numbers) {
  levels(tables, numbers, 0, 0, tables.length, [&](int64_t begin, int64_t end) {
    const int l = tables.levels - 1, r = tables.radices[l];
    level(numbers + begin * 2 * Vec<T>::lanes, (end - begin) / r, 1, r, tables.twiddles[l], tables.roots[l]);
  });
}

// From read(k) to write(k, z) by way of `numbers`, of which write may store at number k. Fours and eights
// outside and inside save a way to memory and back each.
template <class T, class Read, class Write>
TW_INLINE void transform(const FftTables<T>& tables, T* numbers, const Read& read, const Write& write) {
  constexpr int64_t pair = 2 * Vec<T>::lanes;
  const int outer = tables.levels >= 2 ? tables.radices[0] : 0;
  const int inner = tables.levels >= 2 ? tables.radices[tables.levels - 1] : 0;
  if ((outer != 4 && outer != 8) || (inner != 4 && inner != 8)) {
    for (int64_t k = 0; k < tables.length; ++k) read(k).store(numbers + tables.position[k] * pair);
    transform(tables, numbers);
    for (int64_t k = 0; k < tables.length; ++k) write(k, Complex<T>::load(numbers + k * pair));
    return;
  }
  const auto innermost = [&](int64_t begin, int64_t end) {
    if (inner == 8)
      first_level<8>(tables, numbers, begin / 8, end / 8, read);
    else
      first_level<4>(tables, numbers, begin / 4, end / 4, read);
  };
  const int64_t parts = tables.length > fits_l1<T> ? outer : 1;
  for (int64_t j = 0; j < parts; ++j)
    levels(tables, numbers, 1, j * (tables.length / parts), tables.length / parts, innermost);
  if (outer == 8)
    last_level<8>(tables, numbers, write);
  else
    last_level<4>(tables, numbers, write);
}

}  // namespace tw::kernels::TW_ISA
