// A block of positions times a panel of channels, on tiles or with the vector dot product, and the packing of
// panels. Only for files under cpu/isa/ that are compiled for bf16.
#pragma once

#include "kernels/cpu/isa/pairs.h"
#include "kernels/cpu/isa/tap_gemm_bf16.h"
#if defined(__AMX_BF16__)
#include "kernels/cpu/isa/tile_registers.h"
#endif

namespace tw::kernels::TW_ISA {

inline constexpr int64_t step = dot_depth * dot_channels;  // elements of a panel for one tap and depth block
inline constexpr int64_t half_step = step / 2;

#if defined(__AMX_BF16__)
inline constexpr int64_t tile_positions = 16;
inline constexpr int64_t block_positions = 32;

// Weights that come from memory arrive at 20 GB/s by themselves and at 42 when asked for four steps ahead.
inline constexpr int64_t ahead = 4 * step;

// c(16 M, 32) = sum over depth blocks and taps.
template <int M>
[[gnu::noinline]] void multiply_block(const FlatSource& source, const uint16_t* a, const uint16_t* b,
                                      int64_t depth_blocks, int64_t taps, float* c) {
  const int64_t row = source.position_stride * 2;
  const int64_t lower = tile_positions * source.position_stride;
  asm volatile("" ::: "memory");
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (M == 2) _tile_zero(2);
  if constexpr (M == 2) _tile_zero(3);
  for (int64_t block = 0; block < depth_blocks; ++block, a += source.block_stride)
    for (int64_t tap = 0; tap < taps; ++tap, b += step) {
      const uint16_t* at = a + source.offset[tap];
#pragma GCC unroll 32
      for (int line = 0; line < step; line += dot_depth)
        _mm_prefetch(reinterpret_cast<const char*>(b + ahead + line), _MM_HINT_T0);
      _tile_loadd(6, b, 64);
      _tile_loadd(7, b + half_step, 64);
      _tile_loadd(4, at, row);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (M == 2) {
        _tile_loadd(5, at + lower, row);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
    }
  _tile_stored(0, c, 128);
  _tile_stored(1, c + 16, 128);
  if constexpr (M == 2) _tile_stored(2, c + 16 * 32, 128);
  if constexpr (M == 2) _tile_stored(3, c + 16 * 32 + 16, 128);
}

struct Tiles : TileRegisters {
  void multiply(const FlatSource& source, const uint16_t* a, const uint16_t* b, int64_t depth_blocks,
                int64_t taps, int64_t count, float* c) const {
    if (count > tile_positions) return multiply_block<2>(source, a, b, depth_blocks, taps, c);
    multiply_block<1>(source, a, b, depth_blocks, taps, c);
  }
};

#else
inline constexpr int64_t tile_positions = 12;
inline constexpr int64_t block_positions = 12;

struct Tiles {
  // 12 x 2 registers of sums; a pair of k's of one position is broadcast from memory.
  [[gnu::noinline]] void multiply(const FlatSource& source, const uint16_t* a, const uint16_t* b,
                                  int64_t depth_blocks, int64_t taps, int64_t, float* c) const {
    __m512 sums[tile_positions][2];
#pragma GCC unroll 12
    for (int i = 0; i < tile_positions; ++i) sums[i][0] = sums[i][1] = _mm512_setzero_ps();
    const int64_t row = source.position_stride;
    for (int64_t block = 0; block < depth_blocks; ++block, a += source.block_stride)
      for (int64_t tap = 0; tap < taps; ++tap, b += step) {
        const uint16_t* at[4];
        for (int i = 0; i < 4; ++i) at[i] = a + source.offset[tap] + 3 * i * row;
        for (int64_t pair = 0; pair < dot_depth / 2; ++pair) {
          const __m512bh left = (__m512bh)_mm512_loadu_si512(b + pair * 32);
          const __m512bh right = (__m512bh)_mm512_loadu_si512(b + half_step + pair * 32);
          _mm_prefetch(reinterpret_cast<const char*>(b + pair * 32 + step), _MM_HINT_T0);
          _mm_prefetch(reinterpret_cast<const char*>(b + half_step + pair * 32 + step), _MM_HINT_T0);
#pragma GCC unroll 12
          for (int i = 0; i < tile_positions; ++i) {
            int both;
            std::memcpy(&both, at[i / 3] + i % 3 * row + pair * 2, sizeof both);
            const __m512bh x = (__m512bh)_mm512_set1_epi32(both);
            sums[i][0] = _mm512_dpbf16_ps(sums[i][0], x, left);
            sums[i][1] = _mm512_dpbf16_ps(sums[i][1], x, right);
          }
        }
      }
#pragma GCC unroll 12
    for (int i = 0; i < tile_positions; ++i) {
      _mm512_storeu_ps(c + i * 32, sums[i][0]);
      _mm512_storeu_ps(c + i * 32 + 16, sums[i][1]);
    }
  }
};
#endif

// 32 k's by 32 channels; k and channel beyond `depth` and `channels` are zero.
template <class T>
void pack_step(const T* from, int64_t depth_stride, int64_t channel_stride, int64_t depth, int64_t channels,
               uint16_t* to) {
  if (depth_stride == 1) {
    for (int64_t half = 0; half < 2; ++half, to += half_step) {
      Words rows[16];
      for (int64_t j = 0; j < 16; ++j) {
        const int64_t channel = half * 16 + j;
        rows[j] =
            channel < channels ? load_pairs(from + channel * channel_stride, first_of_32(depth)) : Words{};
      }
      transpose_words(rows);
      for (int64_t pair = 0; pair < 16; ++pair) store_words(to + pair * 32, rows[pair]);
    }
    return;
  }
  for (int64_t half = 0; half < 2; ++half, to += half_step)
    for (int64_t k = 0; k < dot_depth; k += 2) {
      T rows[2][16] = {};
      if (channel_stride != 1)
        for (int64_t i = 0; i < 2 && k + i < depth; ++i)
          for (int64_t j = 0; j < 16 && half * 16 + j < channels; ++j)
            rows[i][j] = from[(k + i) * depth_stride + (half * 16 + j) * channel_stride];
      const T* row = from + k * depth_stride + half * 16;
      const auto lanes = static_cast<__mmask16>(first_of_32(channels - half * 16));
      const T* first = channel_stride == 1 ? row : rows[0];
      const T* second = channel_stride == 1 ? row + depth_stride : rows[1];
      store_words(to + k * 16, pair_up(load_bf16(first, k < depth ? lanes : __mmask16{0}),
                                       load_bf16(second, k + 1 < depth ? lanes : __mmask16{0})));
    }
}

}  // namespace tw::kernels::TW_ISA
