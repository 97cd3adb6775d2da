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

// G w without the scales n of its rows, which winograd_output has instead: there are more weights than
// outputs. And row `row` of it alone.
template <int row, class V>
TW_INLINE V winograd_weight_row(V w0, V w1, V w2) {
  using P = WinogradPoints;
  if constexpr (row == 0) {
    return w0;
  } else if constexpr (row == 5) {
    return w2;
  } else {
    constexpr float size = row < 3 ? P::p : P::q;
    return fma(V(row % 2 == 1 ? size : -size), w1, fma(V(size * size), w2, w0));
  }
}
template <class V>
TW_INLINE void winograd_weight(V w0, V w1, V w2, V (&t)[6]) {
  t[0] = w0;
  t[1] = winograd_weight_row<1>(w0, w1, w2);
  t[2] = winograd_weight_row<2>(w0, w1, w2);
  t[3] = winograd_weight_row<3>(w0, w1, w2);
  t[4] = winograd_weight_row<4>(w0, w1, w2);
  t[5] = w2;
}

// Coefficient of weight `tap` at transform `point`, for G^T.
inline constexpr float winograd_g[6][3] = {
    {WinogradPoints::n0, 0, 0},
    {WinogradPoints::np, WinogradPoints::np* WinogradPoints::p, WinogradPoints::np* WinogradPoints::p2},
    {WinogradPoints::np, -WinogradPoints::np* WinogradPoints::p, WinogradPoints::np* WinogradPoints::p2},
    {WinogradPoints::nq, WinogradPoints::nq* WinogradPoints::q, WinogradPoints::nq* WinogradPoints::q2},
    {WinogradPoints::nq, -WinogradPoints::nq* WinogradPoints::q, WinogradPoints::nq* WinogradPoints::q2},
    {0, 0, 1}};

// Row `row` of B^T d and of A y alone, from what `load(i)` gives.
template <int row, class Load>
TW_INLINE auto winograd_data_row(const Load& load) {
  using P = WinogradPoints;
  if constexpr (row == 0) {
    return winograd_data_first(load(0), load(2), load(4));
  } else if constexpr (row == 5) {
    return winograd_data_last(load(1), load(3), load(5));
  } else {
    auto plus = load(1), minus = plus;
    const float point = row < 3 ? P::p : P::q, other2 = row < 3 ? P::q2 : P::p2;
    winograd_data_pair(point, other2, load(1), load(2), load(3), load(4), plus, minus);
    return row % 2 == 1 ? plus : minus;
  }
}
template <int row, class Load>
TW_INLINE auto winograd_gradient_row(const Load& load) {
  using P = WinogradPoints;
  if constexpr (row == 0) {
    return load(0);
  } else if constexpr (row == 5) {
    return load(3);
  } else {
    using V = decltype(load(0));
    constexpr float size = row < 3 ? P::p : P::q, point = row % 2 == 1 ? size : -size;
    const V even = fma(V(size * size), load(2), load(0)), odd = fma(V(size * size), load(3), load(1));
    return fma(V(point), odd, even);
  }
}

// A y: the transpose of winograd_output without n.
template <class V>
TW_INLINE void winograd_gradient(const V (&y)[4], V (&t)[6]) {
  const auto load = [&](int i) { return y[i]; };
  t[0] = y[0];
  t[1] = winograd_gradient_row<1>(load);
  t[2] = winograd_gradient_row<2>(load);
  t[3] = winograd_gradient_row<3>(load);
  t[4] = winograd_gradient_row<4>(load);
  t[5] = y[3];
}

// A^T n m.
template <class V>
TW_INLINE void winograd_output(const V (&m)[6], V (&y)[4]) {
  using P = WinogradPoints;
  const V sum_p = m[1] + m[2], odd_p = m[1] - m[2], sum_q = m[3] + m[4], odd_q = m[3] - m[4];
  y[0] = fma(V(P::n0), m[0], fma(V(P::nq), sum_q, V(P::np) * sum_p));
  y[1] = fma(V(P::nq * P::q), odd_q, V(P::np * P::p) * odd_p);
  y[2] = fma(V(P::nq * P::q2), sum_q, V(P::np * P::p2) * sum_p);
  y[3] = fma(V(P::nq * P::q * P::q2), odd_q, fma(V(P::np * P::p * P::p2), odd_p, m[5]));
}

}  // namespace tw::kernels::TW_ISA
