// Normal numbers from random words: Box and Muller (1958), z0 = r cos a, z1 = r sin a with r = sqrt(-2 ln u)
// and a = 2 pi v.
//
// Logarithm, sine and cosine are short polynomials of +, - and * in a fixed order. Where nothing is
// contracted into fused multiply-adds (tensor/random.cpp, kernels/cuda/random.cu) every processor computes
// the same bits.
#pragma once

#include <bit>
#include <cstdint>

namespace tw {

// ln x for normal x > 0: x = m 2^e with m in [sqrt(1/2), sqrt(2)), ln x = e ln 2 + ln m.
// The polynomial of ln(1 + f) is that of Moshier's Cephes library, error below 1 ulp.
[[gnu::always_inline]] constexpr inline float natural_log(float x) {
  const int32_t bits = std::bit_cast<int32_t>(x);
  const int32_t exponent = (bits - 0x3f3504f3) >> 23;
  const float f = std::bit_cast<float>(bits - (exponent << 23)) - 1.0f;
  const float e = static_cast<float>(exponent);
  const float f2 = f * f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  p = p * f * f2;
  p = p + e * -2.12194440e-4f;  // ln 2 = 0.693359375 - 2.12194440e-4
  p = p - 0.5f * f2;
  return f + p + e * 0.693359375f;
}

// Two words give two independent standard normals. root: the square root, correctly rounded.
template <class Root>
[[gnu::always_inline]] constexpr inline void normal_pair(uint32_t word0, uint32_t word1, Root root, float& z0,
                                                         float& z1) {
  const float u = static_cast<float>(static_cast<int32_t>(word0 >> 1)) * 0x1p-31f + 0x1p-32f;  // (0, 1]
  const float radius = root(-2.0f * natural_log(u));
  // The angle 2 pi word1 / 2^32 as a quarter turn and a rest in [-pi/4, pi/4).
  const uint32_t shifted = word1 + 0x20000000u;
  const uint32_t quarter = shifted >> 30;
  const float rest =
      static_cast<float>(static_cast<int32_t>(shifted & 0x3fffffffu) - 0x20000000) * 1.46291807926715968e-9f;
  const float r2 = rest * rest;
  const float sine =
      rest + rest * r2 * (-1.6666654611e-1f + r2 * (8.3321608736e-3f + r2 * -1.9515295891e-4f));
  const float cosine =
      1.0f - 0.5f * r2 +
      r2 * r2 * (4.166664568298827e-2f + r2 * (-1.388731625493765e-3f + r2 * 2.443315711809948e-5f));
  const uint32_t swap = 0u - (quarter & 1u);  // all ones when sine and cosine change places
  const uint32_t s = std::bit_cast<uint32_t>(sine), c = std::bit_cast<uint32_t>(cosine);
  const uint32_t cosine_sign = ((quarter + 1u) & 2u) << 30, sine_sign = (quarter & 2u) << 30;
  z0 = radius * std::bit_cast<float>(((c & ~swap) | (s & swap)) ^ cosine_sign);
  z1 = radius * std::bit_cast<float>(((s & ~swap) | (c & swap)) ^ sine_sign);
}

}  // namespace tw
