// The one-dimensional transforms of Winograd convolution F(4, 3) at the points 0, +-p, +-q and infinity:
//   correlation of d (6) with w (3) = A^T [(G w) (.) (B^T d)]  (4),
// used along both axes of a tile.
// Winograd 1980; Lavin and Gray 2016 (points +-1 and +-2). With the points below the error is a quarter of
// that: 2.6e-6 of the largest output at 256 channels, against 1.3e-5.
#pragma once

#include "kernels/cpu/isa/vec.h"

namespace tw::kernels::TW_ISA {

// Rows of the transform come in pairs, of the points p and -p, that share their even and odd halves.
struct WinogradPoints {
  static constexpr float p = 0.6875f, q = 1.375f;
  static constexpr float p2 = p * p, q2 = q * q;
  // 1 / (product of a point's distances to the others).
  static constexpr float n0 = 1 / (p2 * q2), np = 1 / (2 * p2 * (p2 - q2)), nq = 1 / (2 * q2 * (q2 - p2));
};

// B^T d, row by row: row 0, the pair of +-p, the pair of +-q, row 5.
template <class V>
TW_INLINE V winograd_data_first(V d0, V d2, V d4) {
  using P = WinogradPoints;
  return fma(V(P::p2 * P::q2), d0, fma(V(-(P::p2 + P::q2)), d2, d4));
}
template <class V>
TW_INLINE void winograd_data_pair(float point, float other2, V d1, V d2, V d3, V d4, V& plus, V& minus) {
  const V even = fma(V(-other2), d2, d4), odd = fma(V(-other2), d1, d3);
  plus = fma(V(point), odd, even);
  minus = fma(V(-point), odd, even);
}
template <class V>
TW_INLINE V winograd_data_last(V d1, V d3, V d5) {
  return winograd_data_first(d1, d3, d5);
}
template <class V>
TW_INLINE void winograd_data(const V (&d)[6], V (&t)[6]) {
  using P = WinogradPoints;
  t[0] = winograd_data_first(d[0], d[2], d[4]);
  winograd_data_pair(P::p, P::q2, d[1], d[2], d[3], d[4], t[1], t[2]);
  winograd_data_pair(P::q, P::p2, d[1], d[2], d[3], d[4], t[3], t[4]);
  t[5] = winograd_data_last(d[1], d[3], d[5]);
}

// G w.
template <class V>
TW_INLINE void winograd_weight(const V (&w)[3], V (&t)[6]) {
  using P = WinogradPoints;
  t[0] = V(P::n0) * w[0];
  const V even_p = fma(V(P::p2), w[2], w[0]), even_q = fma(V(P::q2), w[2], w[0]);
  t[1] = V(P::np) * fma(V(P::p), w[1], even_p);
  t[2] = V(P::np) * fma(V(-P::p), w[1], even_p);
  t[3] = V(P::nq) * fma(V(P::q), w[1], even_q);
  t[4] = V(P::nq) * fma(V(-P::q), w[1], even_q);
  t[5] = w[2];
}

// A^T m.
template <class V>
TW_INLINE void winograd_output(const V (&m)[6], V (&y)[4]) {
  using P = WinogradPoints;
  const V sum_p = m[1] + m[2], odd_p = m[1] - m[2], sum_q = m[3] + m[4], odd_q = m[3] - m[4];
  y[0] = m[0] + (sum_p + sum_q);
  y[1] = fma(V(P::q), odd_q, V(P::p) * odd_p);
  y[2] = fma(V(P::q2), sum_q, V(P::p2) * sum_p);
  y[3] = fma(V(P::q * P::q2), odd_q, fma(V(P::p * P::p2), odd_p, m[5]));
}

}  // namespace tw::kernels::TW_ISA
