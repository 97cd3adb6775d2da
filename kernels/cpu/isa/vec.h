// Vec<T>: one register of floats or doubles of the instruction set that the file is compiled for.
//
// Built on GCC's vector extension, so the same text gives SSE2, AVX2 and AVX-512 code; AVX-512 instructions
// that it does not reach (partial loads, scaling by 2^n, reciprocals) are called by name. Only for files
// under cpu/isa/.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tensor/dtype.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if !defined(TW_ISA)
#error "vec.h is for the files that are compiled once per instruction set"
#endif
#if defined(__AVX512F__)
#define TW_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define TW_VECTOR_BYTES 32
#else
#define TW_VECTOR_BYTES 16
#endif
#define TW_INLINE [[gnu::always_inline]] inline

namespace tw::kernels::TW_ISA {

template <class T>
struct Register;
template <>
struct Register<float> {
  typedef float Native __attribute__((vector_size(TW_VECTOR_BYTES)));
  typedef int32_t Mask __attribute__((vector_size(TW_VECTOR_BYTES)));
};
template <>
struct Register<double> {
  typedef double Native __attribute__((vector_size(TW_VECTOR_BYTES)));
  typedef int64_t Mask __attribute__((vector_size(TW_VECTOR_BYTES)));
};

template <class T>
struct Vec {
  using Native = typename Register<T>::Native;
  using Mask = typename Register<T>::Mask;  // all ones where true
  static constexpr int lanes = TW_VECTOR_BYTES / sizeof(T);

  Native native;

  Vec() = default;
  TW_INLINE Vec(Native n) : native(n) {}
  // Every lane. Subtracting zero, unlike adding it, keeps -0, so that the compiler can leave it out.
  TW_INLINE Vec(T value) : native(value - Native{}) {}

  template <class From>
  TW_INLINE static Vec load(const From* from) {
    if constexpr (std::is_same_v<From, T>) {
      Vec v;
      std::memcpy(&v.native, from, sizeof v.native);
      return v;
    } else if constexpr (std::is_same_v<From, bf16> && std::is_same_v<T, float>) {
      typedef uint16_t Half __attribute__((vector_size(TW_VECTOR_BYTES / 2)));
      typedef uint32_t Wide __attribute__((vector_size(TW_VECTOR_BYTES)));
      Half half;
      std::memcpy(&half, from, sizeof half);
#if defined(__AVX512F__)
      // GCC makes four shuffles of a conversion to 512 bits, all of them for one port.
      const auto wide = (Wide)_mm512_maskz_cvtepu16_epi32(every_lane, (__m256i)half) << 16;
#else
      const Wide wide = __builtin_convertvector(half, Wide) << 16;
#endif
      Vec v;
      std::memcpy(&v.native, &wide, sizeof wide);
      return v;
    } else {
      T lanes_in[lanes];
      for (int i = 0; i < lanes; ++i) lanes_in[i] = static_cast<T>(from[i]);
      return load(lanes_in);
    }
  }
  // The first `count` lanes; the others are zero.
  template <class From>
  TW_INLINE static Vec load(const From* from, int64_t count) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<From, float> && std::is_same_v<T, float>)
      return Native(_mm512_maskz_loadu_ps(first_lanes(count), from));
    if constexpr (std::is_same_v<From, bf16> && std::is_same_v<T, float>) {
      const __m256i half = _mm256_maskz_loadu_epi16(first_lanes(count), from);
      return load(reinterpret_cast<const bf16*>(&half));
    }
    if constexpr (std::is_same_v<From, double> && std::is_same_v<T, double>)
      return Native(_mm512_maskz_loadu_pd(static_cast<__mmask8>(first_lanes(count)), from));
#endif
    From all[lanes] = {};
    for (int64_t i = 0; i < count; ++i) all[i] = from[i];
    return load(all);
  }
  template <class To>
  TW_INLINE void store(To* to) const {
    if constexpr (std::is_same_v<To, T>) {
      std::memcpy(to, &native, sizeof native);
    } else if constexpr (std::is_same_v<To, bf16> && std::is_same_v<T, float>) {
#if defined(__AVX512BF16__)
      const auto rounded_to_even = _mm512_cvtneps_pbh(native);  // takes subnormal numbers for zero
      std::memcpy(static_cast<void*>(to), &rounded_to_even, sizeof rounded_to_even);
      return;
#endif
      // Round to nearest even; NaN keeps a set mantissa bit.
      typedef uint16_t Half __attribute__((vector_size(TW_VECTOR_BYTES / 2)));
      typedef uint32_t Wide __attribute__((vector_size(TW_VECTOR_BYTES)));
      Wide wide;
      std::memcpy(&wide, &native, sizeof wide);
      const Wide rounded = (wide + 0x7fffu + ((wide >> 16) & 1u)) >> 16;
      const Wide nan = (wide >> 16) | 0x40u;
      const auto half = __builtin_convertvector(native != native ? nan : rounded, Half);
      std::memcpy(static_cast<void*>(to), &half, sizeof half);
    } else {
      for (int i = 0; i < lanes; ++i) to[i] = To(native[i]);
    }
  }
  template <class To>
  TW_INLINE void store(To* to, int64_t count) const {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<To, float> && std::is_same_v<T, float>)
      return _mm512_mask_storeu_ps(to, first_lanes(count), native);
    if constexpr (std::is_same_v<To, double> && std::is_same_v<T, double>)
      return _mm512_mask_storeu_pd(to, static_cast<__mmask8>(first_lanes(count)), native);
#endif
    To all[lanes];
    store(all);
    for (int64_t i = 0; i < count; ++i) to[i] = all[i];
  }

  TW_INLINE Vec& operator+=(Vec b) {
    native += b.native;
    return *this;
  }
  TW_INLINE Vec& operator-=(Vec b) {
    native -= b.native;
    return *this;
  }
  TW_INLINE Vec& operator*=(Vec b) {
    native *= b.native;
    return *this;
  }
  TW_INLINE friend Vec operator+(Vec a, Vec b) { return a.native + b.native; }
  TW_INLINE friend Vec operator-(Vec a, Vec b) { return a.native - b.native; }
  TW_INLINE friend Vec operator*(Vec a, Vec b) { return a.native * b.native; }
  TW_INLINE friend Vec operator/(Vec a, Vec b) { return a.native / b.native; }
  TW_INLINE friend Vec operator-(Vec a) { return -a.native; }
  TW_INLINE friend Mask operator<(Vec a, Vec b) { return a.native < b.native; }
  TW_INLINE friend Mask operator>(Vec a, Vec b) { return a.native > b.native; }
  TW_INLINE friend Mask operator<=(Vec a, Vec b) { return a.native <= b.native; }
  TW_INLINE friend Mask operator>=(Vec a, Vec b) { return a.native >= b.native; }

  TW_INLINE friend Vec select(Mask mask, Vec yes, Vec no) { return mask ? yes.native : no.native; }
  // When `a` is NaN the result is NaN (and `b` is the limit in a clamp).
  TW_INLINE friend Vec max(Vec a, Vec b) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float>)
      return Native(_mm512_maskz_max_ps(every_lane, b.native, a.native));
#endif
    return a.native < b.native ? b.native : a.native;
  }
  TW_INLINE friend Vec min(Vec a, Vec b) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float>)
      return Native(_mm512_maskz_min_ps(every_lane, b.native, a.native));
#endif
    return a.native > b.native ? b.native : a.native;
  }
  // a b + c, rounded once where the instruction set can. By name: left to contraction, x y + z w could become
  // either of two fused forms in two copies of one loop, and a result depend on where a thread's part begins.
  TW_INLINE friend Vec fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float>)
      return Native(_mm512_fmadd_ps(a.native, b.native, c.native));
    else
      return Native(_mm512_fmadd_pd(a.native, b.native, c.native));
#elif defined(__FMA__)
    if constexpr (std::is_same_v<T, float>)
      return Native(_mm256_fmadd_ps(a.native, b.native, c.native));
    else
      return Native(_mm256_fmadd_pd(a.native, b.native, c.native));
#else
    return a.native * b.native + c.native;
#endif
  }
  TW_INLINE friend Vec abs(Vec a) { return a.native < Native{} ? -a.native : a.native; }
  TW_INLINE friend Vec sqrt(Vec a) {
    Vec r;
    for (int i = 0; i < lanes; ++i) r.native[i] = std::sqrt(a.native[i]);
    return r;
  }
  // 1 / a, within one unit in the last place for normal results; for infinite a it is NaN, not 0.
  TW_INLINE friend Vec reciprocal(Vec a) {
#if defined(__AVX512F__)
    // 14 bits and a Newton step. A 512-bit division takes as long as 10 multiplications.
    if constexpr (std::is_same_v<T, float>) {
      const Vec guess = Native(_mm512_maskz_rcp14_ps(every_lane, a.native));
      return fma(guess, fma(-a, guess, Vec(1.0f)), guess);
    }
#endif
    return Vec(T(1)) / a;
  }
  // Sum of the lanes, in a fixed order.
  TW_INLINE T sum() const {
    T lane[lanes];
    store(lane);
    for (int width = lanes / 2; width > 0; width /= 2)
      for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
    return lane[0];
  }

  TW_INLINE T largest() const {
    T lane[lanes];
    store(lane);
    for (int width = lanes / 2; width > 0; width /= 2)
      for (int i = 0; i < width; ++i) lane[i] = lane[i] < lane[i + width] ? lane[i + width] : lane[i];
    return lane[0];
  }

  // e^x: 2^n p(r) with n = round(x / ln 2), p of degree 6; relative error below 2e-7. Saturates instead of
  // overflowing.
  TW_INLINE friend Vec exp(Vec x) {
    if constexpr (std::is_same_v<T, float>) {
      const Vec clamped = min(max(x, Vec(-87.33f)), Vec(88.72f));
      const Vec magic(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
      const Vec shifted = fma(clamped, Vec(1.44269504f), magic);
      const Vec n = shifted - magic;
      const Vec r = fma(n, Vec(-1.42860677e-6f), fma(n, Vec(-0.693145752f), clamped));
      Vec p(1.0f / 720);
      p = fma(p, r, Vec(1.0f / 120));
      p = fma(p, r, Vec(1.0f / 24));
      p = fma(p, r, Vec(1.0f / 6));
      p = fma(p, r, Vec(0.5f));
      p = fma(p, r, Vec(1.0f));
      p = fma(p, r, Vec(1.0f));
#if defined(__AVX512F__)
      return Native(_mm512_maskz_scalef_ps(every_lane, p.native, n.native));
#endif
      // Multiply by 2^n in two halves, so that n = 128 does not leave the exponent's range.
      Mask k = __builtin_convertvector(n.native, Mask);
      const Mask half = k >> 1;
      return p * power_of_two(half) * power_of_two(k - half);
    } else {
      Vec r;
      for (int i = 0; i < lanes; ++i) r.native[i] = std::exp(x.native[i]);
      return r;
    }
  }

  // 1 / (1 + e^-x). With AVX-512 e^-x is 2^n p(r), n + r = -x / ln 2, and p of degree 5 (relative error below
  // 1.2e-7); what e^-x loses for large |x| is lost beside 1, or within 1e-6 of a result near 0.
  TW_INLINE friend Vec sigmoid(Vec x) {
#if defined(__AVX512DQ__)
    if constexpr (std::is_same_v<T, float>) {
      const Vec power = min(max(x * Vec(-1.44269504f), Vec(-125.0f)), Vec(125.0f));
      const Vec r = Native(_mm512_maskz_reduce_ps(every_lane, power.native, 8));  // from the nearest integer
      Vec p(1.3276472e-3f);
      p = fma(p, r, Vec(9.67554133e-3f));
      p = fma(p, r, Vec(5.55071327e-2f));
      p = fma(p, r, Vec(0.240221197f));
      p = fma(p, r, Vec(0.693146967f));
      p = fma(p, r, Vec(1.00000007f));
      const Vec e = Native(_mm512_maskz_scalef_ps(every_lane, p.native, (power - r).native));
      return reciprocal(e + Vec(1.0f));
    }
#endif
    return reciprocal(Vec(T(1)) + exp(-x));
  }

 private:
#if defined(__AVX512F__)
  // The unmasked intrinsics start from an undefined register, which makes GCC 12 warn of uninitialised use.
  static constexpr __mmask16 every_lane = 0xffff;
  TW_INLINE static __mmask16 first_lanes(int64_t count) {
    return static_cast<__mmask16>(_bzhi_u32(0xffffu, static_cast<unsigned>(count)));
  }
#endif
  TW_INLINE static Vec power_of_two(Mask exponent) {
    const Mask bits = (exponent + 127) << 23;
    Vec v;
    std::memcpy(&v.native, &bits, sizeof bits);
    return v;
  }
};

}  // namespace tw::kernels::TW_ISA
