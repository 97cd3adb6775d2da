// Algorithm: a tile of 32 x 32 channels of one tap keeps its sums in registers over a chunk of positions and
// goes on from the gradient in memory with the next, so that the order of the additions is that of the
// positions. Transposing the gathered operand costs a sixth of a 128-channel product at 32 x 32.
#include "kernels/cpu/isa/tap_outer_bf16.h"

#include "kernels/cpu/isa/pairs.h"
#include "kernels/cpu/isa/vec.h"
#if defined(__AMX_BF16__)
#include "kernels/cpu/isa/tile_registers.h"
#endif

namespace tw::kernels {
namespace {

using namespace TW_ISA;       // Vec, and the layout of pairs
constexpr int64_t step = 32;  // positions

// Where the pixels of 32 positions lie; null for a border.
struct Pixels {
  const bf16* at[step];
};

// Row q as 16 channels of positions 2 q and 2 q + 1.
TW_INLINE void load_block(const Pixels& pixels, int64_t channel, int64_t channels, Words (&words)[16]) {
  const auto lanes = static_cast<__mmask16>(first_of_32(channels - channel));
#pragma GCC unroll 16
  for (int q = 0; q < 16; ++q) {
    const bf16 *a = pixels.at[2 * q], *b = pixels.at[2 * q + 1];
    words[q] =
        pair_up(a ? load_bf16(a + channel, lanes) : Words{}, b ? load_bf16(b + channel, lanes) : Words{});
  }
}

Pixels gathered_pixels(const TapOuter& g, const FlatGrid& flat, int64_t image, int64_t position) {
  Pixels pixels;
  for (int64_t i = 0; i < step;) {
    const FlatRun run = run_of(g.axes, flat, g.samples, image, position + i, step - i);
    const bf16* from = static_cast<const bf16*>(g.gathered) + run.pixel * g.gathered_channels;
    for (int64_t j = 0; j < run.positions; ++j)
      pixels.at[i + j] = j < run.pixels ? from + j * run.step * g.gathered_channels : nullptr;
    i += run.positions;
  }
  return pixels;
}

Pixels dense_pixels(const TapOuter& g, const FlatGrid& flat, int64_t position) {
  Pixels pixels;
  for (int64_t i = 0; i < step; ++i) pixels.at[i] = nullptr;
  for (int64_t i = 0; i < step && position + i < flat.positions;) {
    const FlatPlace p = place_of(flat, position + i);
    const int64_t left = flat.pitch[1] - p.at[2], run = left < step - i ? left : step - i;
    int64_t pixel = p.sample;
    for (int axis = 0; axis < 3; ++axis) pixel = pixel * g.axes[axis].grid + p.at[axis];
    if (p.at[0] < g.axes[0].grid && p.at[1] < g.axes[1].grid)
      for (int64_t j = 0; j < run && p.at[2] + j < g.axes[2].grid; ++j)
        pixels.at[i + j] = static_cast<const bf16*>(g.dense) + (pixel + j) * g.dense_channels;
    i += run;
  }
  return pixels;
}

void pack_rows(const TapOuter& g, const FlatGrid& flat, const OuterPositions& p, const OuterBlocks& blocks,
               uint16_t* packed) {
  const int64_t length = row_length(flat, p.count), first = p.first - flat.lead;
  const int64_t begin = blocks.row_begin * outer_block, end = blocks.row_end * outer_block;
  for (int64_t image = 0; image < flat.images(); ++image, packed += (end - begin) * length)
    for (int64_t at = 0; at < length; at += step) {
      const Pixels pixels = gathered_pixels(g, flat, image, first + at);
      for (int64_t channel = begin; channel < end; channel += 16) {
        Words words[16];
        load_block(pixels, channel, g.gathered_channels, words);
        transpose_words(words);
#pragma GCC unroll 16
        for (int j = 0; j < 16; ++j) store_words(packed + (channel - begin + j) * length + at, words[j]);
      }
    }
}

void pack_columns(const TapOuter& g, const FlatGrid& flat, const OuterPositions& p, const OuterBlocks& blocks,
                  uint16_t* packed, bool sum, bool first) {
  using V = Vec<float>;
  const int64_t begin = blocks.column_begin * outer_block, end = blocks.column_end * outer_block;
  for (int64_t at = 0; at < p.count; at += step) {
    const Pixels pixels = dense_pixels(g, flat, p.first + at);
    for (int64_t channel = begin; channel < end; channel += 16) {
      Words words[16];
      load_block(pixels, channel, g.dense_channels, words);
      uint16_t* to = packed + (channel - begin) * p.count + at * 16;
#pragma GCC unroll 16
      for (int q = 0; q < 16; ++q) store_words(to + q * 32, words[q]);
      const int64_t left = g.dense_channels - channel, count = left < 16 ? left : 16;
      if (!sum || count <= 0) continue;
      V total = first && at == 0 ? V(0.0f) : V::load(g.dense_sum + channel, count);
#pragma GCC unroll 16
      for (int q = 0; q < 16; ++q) {
        total += V((V::Native)(words[q] << 16));
        total += V((V::Native)(words[q] & 0xffff0000u));
      }
      total.store(g.dense_sum + channel, count);
    }
  }
}

// One tile: rows `length` apart, columns of 16 channels `width` apart, sums `pitch` apart.
#if defined(__AMX_BF16__)
struct Tiles : TileRegisters {
  [[gnu::noinline]] void multiply(const uint16_t* a, int64_t length, const uint16_t* b, int64_t width,
                                  int64_t steps, float* c, int64_t pitch, bool first) const {
    const int64_t row = length * 2, line = pitch * 4;
    asm volatile("" ::: "memory");
    if (first) {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    } else {
      _tile_loadd(0, c, line);
      _tile_loadd(1, c + 16, line);
      _tile_loadd(2, c + 16 * pitch, line);
      _tile_loadd(3, c + 16 * pitch + 16, line);
    }
    for (int64_t i = 0; i < steps; ++i, a += step, b += step * 16) {
      _tile_loadd(6, b, 64);
      _tile_loadd(7, b + width, 64);
      _tile_loadd(4, a, row);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, a + 16 * length, row);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, line);
    _tile_stored(1, c + 16, line);
    _tile_stored(2, c + 16 * pitch, line);
    _tile_stored(3, c + 16 * pitch + 16, line);
  }
};
#else
struct Tiles {
  [[gnu::noinline]] void multiply(const uint16_t* a, int64_t length, const uint16_t* b, int64_t width,
                                  int64_t steps, float* c, int64_t pitch, bool first) const {
    constexpr int rows = 8;
    for (int64_t part = 0; part < outer_block; part += rows, a += rows * length, c += rows * pitch) {
      __m512 sums[rows][2];
#pragma GCC unroll 8
      for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
        for (int j = 0; j < 2; ++j)
          sums[i][j] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(c + i * pitch + j * 16);
      for (int64_t pair = 0; pair < steps * 16; ++pair) {
        const __m512bh left = (__m512bh)_mm512_loadu_si512(b + pair * 32);
        const __m512bh right = (__m512bh)_mm512_loadu_si512(b + width + pair * 32);
#pragma GCC unroll 8
        for (int i = 0; i < rows; ++i) {
          int both;
          std::memcpy(&both, a + i * length + pair * 2, sizeof both);
          const __m512bh x = (__m512bh)_mm512_set1_epi32(both);
          sums[i][0] = _mm512_dpbf16_ps(sums[i][0], x, left);
          sums[i][1] = _mm512_dpbf16_ps(sums[i][1], x, right);
        }
      }
#pragma GCC unroll 8
      for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
        for (int j = 0; j < 2; ++j) _mm512_storeu_ps(c + i * pitch + j * 16, sums[i][j]);
    }
  }
};
#endif

void multiply(const TapOuter& g, const FlatGrid& flat, const OuterPositions& p, const OuterBlocks& blocks,
              const uint16_t* rows, const uint16_t* columns, bool first) {
  const int64_t length = row_length(flat, p.count), steps = p.count / step, width = p.count * 16;
  const int64_t ci = g.gathered_channels, co = g.dense_channels, taps = g.taps();
  const int64_t image_size = (blocks.row_end - blocks.row_begin) * outer_block * length;
  const Tiles tiles;
  for (int64_t column = blocks.column_begin; column < blocks.column_end; ++column)
    for (int64_t row = blocks.row_begin; row < blocks.row_end; ++row)
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t i = row * outer_block, j = column * outer_block;
        const uint16_t* a = rows + flat.image[tap] * image_size +
                            (row - blocks.row_begin) * outer_block * length + flat.lead + flat.distance[tap];
        const uint16_t* b = columns + (column - blocks.column_begin) * 2 * width;
        float* to = g.gradient + (tap * ci + i) * co + j;
        const int64_t height = ci - i < outer_block ? ci - i : outer_block;
        const int64_t wide = co - j < outer_block ? co - j : outer_block;
        if (height == outer_block && wide == outer_block) {
          tiles.multiply(a, length, b, width, steps, to, co, first);
          continue;
        }
        alignas(64) float sums[outer_block * outer_block] = {};
        if (!first)
          for (int64_t r = 0; r < height; ++r)
            for (int64_t q = 0; q < wide; ++q) sums[r * outer_block + q] = to[r * co + q];
        tiles.multiply(a, length, b, width, steps, sums, outer_block, first);
        for (int64_t r = 0; r < height; ++r)
          for (int64_t q = 0; q < wide; ++q) to[r * co + q] = sums[r * outer_block + q];
      }
}

}  // namespace

template <>
const TapOuterBf16Kernels& kernels_of<TapOuterBf16Kernels, Isa::TW_ISA>() {
  static const TapOuterBf16Kernels kernels{pack_rows, pack_columns, multiply};
  return kernels;
}

}  // namespace tw::kernels
