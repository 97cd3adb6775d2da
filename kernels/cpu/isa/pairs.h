// The operand layout of the bf16 dot products: two elements of the summed index lie side by side in 32 bits.
// Only for files under cpu/isa/ that are compiled for AVX-512.
#pragma once

#include <type_traits>

#include "kernels/cpu/isa/vec.h"

namespace tw::kernels::TW_ISA {

typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint64_t Doubles __attribute__((vector_size(64)));

// Of every four words: those of a and b in turn, from the lower or the upper two.
TW_INLINE Words low_words(Words a, Words b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
}
TW_INLINE Words high_words(Words a, Words b) {
  return __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
}
TW_INLINE Words low_doubles(Words a, Words b) {
  return (Words)__builtin_shufflevector((Doubles)a, (Doubles)b, 0, 8, 2, 10, 4, 12, 6, 14);
}
TW_INLINE Words high_doubles(Words a, Words b) {
  return (Words)__builtin_shufflevector((Doubles)a, (Doubles)b, 1, 9, 3, 11, 5, 13, 7, 15);
}
// The first and third, or second and fourth, quarter of a, then of b.
TW_INLINE Words even_quarters(Words a, Words b) {
  return (Words)__builtin_shufflevector((Doubles)a, (Doubles)b, 0, 1, 4, 5, 8, 9, 12, 13);
}
TW_INLINE Words odd_quarters(Words a, Words b) {
  return (Words)__builtin_shufflevector((Doubles)a, (Doubles)b, 2, 3, 6, 7, 10, 11, 14, 15);
}

// Element (i, j) of a 16 x 16 matrix, a row a register, to (j, i).
TW_INLINE void transpose_words(Words (&r)[16]) {
  Words t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = low_words(r[i], r[i + 1]);
    t[i + 1] = high_words(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = low_doubles(t[i], t[i + 2]);
    r[i + 1] = high_doubles(t[i], t[i + 2]);
    r[i + 2] = low_doubles(t[i + 1], t[i + 3]);
    r[i + 3] = high_doubles(t[i + 1], t[i + 3]);
  }
  // Quarter q of r[4 a + b] has column 4 q + b of rows 4 a to 4 a + 3.
#pragma GCC unroll 4
  for (int b = 0; b < 4; ++b) {
    t[b] = even_quarters(r[b], r[4 + b]);
    t[4 + b] = odd_quarters(r[b], r[4 + b]);
    t[8 + b] = even_quarters(r[8 + b], r[12 + b]);
    t[12 + b] = odd_quarters(r[8 + b], r[12 + b]);
  }
#pragma GCC unroll 4
  for (int b = 0; b < 4; ++b) {
    r[b] = even_quarters(t[b], t[8 + b]);
    r[8 + b] = odd_quarters(t[b], t[8 + b]);
    r[4 + b] = even_quarters(t[4 + b], t[12 + b]);
    r[12 + b] = odd_quarters(t[4 + b], t[12 + b]);
  }
}

// 16 elements as bf16, one in each word; lanes that are off are zero.
TW_INLINE Words load_bf16(const bf16* from, __mmask16 lanes) {
  typedef uint16_t Half __attribute__((vector_size(32)));
  return __builtin_convertvector((Half)_mm256_maskz_loadu_epi16(lanes, from), Words);
}
TW_INLINE Words load_bf16(const float* from, __mmask16 lanes) {
  typedef uint16_t Half __attribute__((vector_size(32)));
  return __builtin_convertvector((Half)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes, from)), Words);
}

// Rows a and b of one operand as 16 pairs (a, b).
TW_INLINE Words pair_up(Words a, Words b) { return a | b << 16; }

// 32 elements of a row as 16 pairs; lanes that are off are zero.
TW_INLINE Words load_pairs(const bf16* from, __mmask32 lanes) {
  return (Words)_mm512_maskz_loadu_epi16(lanes, from);
}
TW_INLINE Words load_pairs(const float* from, __mmask32 lanes) {
  const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(lanes), from);
  const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(lanes >> 16), from + 16);
  return (Words)_mm512_cvtne2ps_pbh(high, low);
}

TW_INLINE void store_words(uint16_t* to, Words words) { std::memcpy(to, &words, sizeof words); }

TW_INLINE __mmask32 first_of_32(int64_t count) {
  return count >= 32 ? ~__mmask32{0} : count <= 0 ? __mmask32{0} : (__mmask32{1} << count) - 1;
}

}  // namespace tw::kernels::TW_ISA
