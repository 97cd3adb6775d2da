// log, log1p, tanh and erf of a vector, for the files under cpu/isa/.
//
// f32: range reduction and polynomials (interpolated at Chebyshev nodes), a few units in the last place; f64:
// the library's functions, one lane at a time.
#pragma once

#include <cmath>

#include "kernels/cpu/isa/vec.h"

namespace tw::kernels::TW_ISA {

template <class T, class F>
TW_INLINE Vec<T> each_lane(Vec<T> a, F f) {
  T lane[Vec<T>::lanes];
  a.store(lane);
  for (T& v : lane) v = f(v);
  return Vec<T>::load(lane);
}

// c[0] + c[1] x + ...
template <int terms>
TW_INLINE Vec<float> polynomial(const float (&c)[terms], Vec<float> x) {
  Vec<float> p(c[terms - 1]);
  for (int i = terms - 2; i >= 0; --i) p = fma(p, x, Vec<float>(c[i]));
  return p;
}

// x = 2^e m with m in [sqrt(1/2), sqrt(2)); log x = e ln 2 + f - f^2/2 + f^3 p(f), f = m - 1.
TW_INLINE Vec<float> log(Vec<float> x) {
  using V = Vec<float>;
  using Mask = V::Mask;
  constexpr float p[] = {0.333333312f,  -0.24999997f, 0.200007157f,  -0.166678023f, 0.142490576f,
                         -0.124256873f, 0.116854199f, -0.114797338f, 0.0697161144f};
  const Mask tiny = x < V(1.17549435e-38f);  // subnormal (or not positive): scaled up by 2^23
  const V scaled = select(tiny, x * V(8388608.0f), x);
  Mask bits;
  __builtin_memcpy(&bits, &scaled.native, sizeof bits);
  const Mask shifted = bits - 0x3f3504f3;  // the bits of sqrt(1/2)
  const Mask exponent = shifted >> 23;
  const Mask mantissa_bits = (shifted & 0x007fffff) + 0x3f3504f3;
  V m;
  __builtin_memcpy(&m.native, &mantissa_bits, sizeof m.native);
  const V e = V(__builtin_convertvector(exponent, V::Native)) - select(tiny, V(23), V(0));
  const V f = m - V(1), square = f * f;
  V y = f * square * polynomial(p, f);
  y = fma(e, V(-2.12194440e-4f), y);  // ln 2 in two parts, the first one exact
  y = fma(square, V(-0.5f), y);
  y = fma(e, V(0.693359375f), f + y);
  const V infinity(__builtin_inff());
  y = select(x < infinity, y, x);  // infinity and NaN stay
  y = select(x > V(0), y, select(x < V(0), V(__builtin_nanf("")), select(x >= V(0), -infinity, x)));
  return y;
}

// Kahan's correction of log(1 + x) for what rounding 1 + x loses.
TW_INLINE Vec<float> log1p(Vec<float> x) {
  using V = Vec<float>;
  const V u = x + V(1), lost = u - V(1);
  const V y = log(u) * (x / lost);
  return select(lost > V(0), y, select(lost < V(0), y, x));
}

// x p(x^2) near 0, else 1 - 2 / (e^(2x) + 1).
TW_INLINE Vec<float> tanh(Vec<float> x) {
  using V = Vec<float>;
  constexpr float p[] = {0.999999996f,   -0.333332599f, 0.133311141f,
                         -0.0537201077f, 0.0205881915f, -0.00565713519f};
  const V a = abs(x);
  const V far = V(1) - V(2) / (exp(a + a) + V(1));
  return select(a < V(0.625f), x * polynomial(p, x * x), select(x < V(0), -far, far));
}

// x p(x^2) up to 1, else 1 - e^-q(x); 1 from 4 on.
TW_INLINE Vec<float> erf(Vec<float> x) {
  using V = Vec<float>;
  constexpr float p[] = {1.12837917f,    -0.376126267f,    0.112835947f,   -0.026854212f,
                         0.00518908742f, -0.000801686428f, 7.87587505e-05f};
  constexpr float q[] = {-0.00032013805f, 1.13023343f,      0.631826052f,    0.110080083f,    -0.026421136f,
                         0.00475959629f,  -0.000596805626f, 4.60580427e-05f, -1.63715142e-06f};
  const V a = min(abs(x), V(4));
  const V far = V(1) - exp(-polynomial(q, a));
  return select(a < V(1), x * polynomial(p, x * x), select(x < V(0), -far, far));
}

TW_INLINE Vec<double> log(Vec<double> x) {
  return each_lane(x, [](double v) { return std::log(v); });
}
TW_INLINE Vec<double> log1p(Vec<double> x) {
  return each_lane(x, [](double v) { return std::log1p(v); });
}
TW_INLINE Vec<double> tanh(Vec<double> x) {
  return each_lane(x, [](double v) { return std::tanh(v); });
}
TW_INLINE Vec<double> erf(Vec<double> x) {
  return each_lane(x, [](double v) { return std::erf(v); });
}

}  // namespace tw::kernels::TW_ISA
