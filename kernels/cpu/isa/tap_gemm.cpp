// Algorithm: a block of rows is copied to f32 as [tile][k / 16][MR][16] (so the micro-kernel needs one
// pointer and constant offsets), then every panel [k][NR] of weights is multiplied with every tile of MR
// rows, MR x NR sums in registers. The copy is 1/NR of the multiply-adds divided by 16: about 1.5 % at 128
// channels. The epilogue adds the terms and rounds.
#include "kernels/cpu/isa/tap_gemm.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/vec.h"

namespace tw::kernels {
namespace {

using TW_ISA::Vec;
using V = Vec<float>;
constexpr int lanes = V::lanes;
// 12 x 2 registers of sums out of 32 (AVX-512), 6 x 2 out of 16.
constexpr int tile_rows = TW_VECTOR_BYTES == 64 ? 12 : 6;
constexpr int panel_vectors = 2;
constexpr int panel_channels = panel_vectors * lanes;

// c(MR, NV) [+]= a(MR, chunks * 16) b(chunks * 16, NV); a as [chunk][MR][16].
template <int MR, int NV>
[[gnu::noinline]] void multiply(const float* __restrict a, const float* __restrict b, int64_t chunks,
                                float* __restrict c, bool add) {
  typename V::Native sums[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) sums[i][j] = add ? V::load(c + (i * NV + j) * lanes).native : V(0.0f).native;
  for (int64_t k = 0; k < chunks; ++k) {
#pragma GCC unroll 4
    for (int kk = 0; kk < chunk; ++kk) {
      typename V::Native weight[NV];
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) weight[j] = V::load(b + j * lanes).native;
      __builtin_prefetch(b + 8 * NV * lanes);
      if (NV * lanes > 16) __builtin_prefetch(b + 8 * NV * lanes + 16);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        const typename V::Native x = V(a[i * chunk + kk]).native;
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) sums[i][j] = x * weight[j] + sums[i][j];
      }
      b += NV * lanes;
    }
    a += MR * chunk;
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) V(sums[i][j]).store(c + (i * NV + j) * lanes);
}

template <int NV>
void multiply_rows(int64_t rows, const float* a, const float* b, int64_t chunks, float* c, bool add) {
  if (rows == tile_rows) return multiply<tile_rows, NV>(a, b, chunks, c, add);
  if (rows == tile_rows * 2 / 3) return multiply<tile_rows * 2 / 3, NV>(a, b, chunks, c, add);
  multiply<tile_rows / 3, NV>(a, b, chunks, c, add);
}

// Tiles at the end have 1/3 or 2/3 of the rows; what is computed for a row is the same in all of them.
int64_t rows_of_tile(int64_t left) {
  constexpr int64_t third = tile_rows / 3;
  return left >= tile_rows ? tile_rows : (left + third - 1) / third * third;
}

struct Position {
  int64_t sample, at[3];
};

Position position_of(const TapGemm& g, int64_t row) {
  Position p{};
  for (int axis = 2; axis >= 0; --axis) {
    p.at[axis] = row % g.axes[axis].grid;
    row /= g.axes[axis].grid;
  }
  p.sample = row;
  return p;
}

void advance(const TapGemm& g, Position& p) {
  for (int axis = 2; axis >= 0; --axis) {
    if (++p.at[axis] < g.axes[axis].grid) return;
    p.at[axis] = 0;
  }
  ++p.sample;
}

// Where element k of row i of a tile lies.
TW_INLINE int64_t slot(int64_t k, int64_t i, int64_t tile) {
  return (k / chunk * tile + i) * chunk + k % chunk;
}

// Elements [k, k + count) of row i of a tile; `from` null gives zeros.
template <class T>
TW_INLINE void copy_row(const T* from, int64_t stride, int64_t count, float* tile, int64_t k, int64_t i,
                        int64_t rows) {
  if (k % chunk == 0 && count % chunk == 0 && (stride == 1 || !from)) {
    float* to = tile + slot(k, i, rows);
    for (int64_t c = 0; c < count; c += chunk, to += rows * chunk)
      for (int part = 0; part < chunk; part += lanes)
        (from ? V::load(from + c + part) : V(0.0f)).store(to + part);
    return;
  }
  for (int64_t c = 0; c < count; ++c)
    tile[slot(k + c, i, rows)] = from ? static_cast<float>(from[c * stride]) : 0.0f;
}

struct Block {
  int64_t tap_begin, tap_end, depth_begin, depth_end;
};

Block block_at(const TapGemm& g, const DepthBlocks& blocks, int64_t index) {
  const int64_t pieces = (g.depth + blocks.depth_per_block - 1) / blocks.depth_per_block;
  const int64_t tap = index / pieces * blocks.taps_per_block, depth = index % pieces * blocks.depth_per_block;
  const int64_t tap_end = tap + blocks.taps_per_block, depth_end = depth + blocks.depth_per_block;
  return {tap, tap_end < g.taps() ? tap_end : g.taps(), depth, depth_end < g.depth ? depth_end : g.depth};
}

int64_t chunks_of(const Block& block) {
  return ((block.tap_end - block.tap_begin) * (block.depth_end - block.depth_begin) + chunk - 1) / chunk;
}

template <class T>
const T* source_pixel(const TapGemm& g, const Position& p, int64_t tap) {
  int64_t index[3];
  for (int axis = 2; axis >= 0; --axis) {
    const TapAxis& a = g.axes[axis];
    index[axis] = p.at[axis] * a.source_step + a.offset + tap % a.taps * a.offset_step;
    if (index[axis] < 0 || index[axis] >= a.source) return nullptr;
    tap /= a.taps;
  }
  const int64_t pixel =
      ((p.sample * g.axes[0].source + index[0]) * g.axes[1].source + index[1]) * g.axes[2].source + index[2];
  return static_cast<const T*>(g.source) + pixel * g.pixel_stride;
}

template <class T>
void pack_rows_of(const TapGemm& g, const Block& block, int64_t row, int64_t rows, float* packed) {
  const int64_t length = chunks_of(block) * chunk, depth = block.depth_end - block.depth_begin;
  Position p = position_of(g, row);
  for (int64_t first = 0; first < rows; first += tile_rows) {
    const int64_t tile = rows_of_tile(rows - first);
    for (int64_t i = 0; i < tile; ++i) {
      int64_t k = 0;
      if (first + i < rows) {
        for (int64_t tap = block.tap_begin; tap < block.tap_end; ++tap, k += depth) {
          const T* from = source_pixel<T>(g, p, tap);
          copy_row(from ? from + block.depth_begin * g.depth_stride : from, g.depth_stride, depth, packed, k,
                   i, tile);
        }
        advance(g, p);
      }
      for (; k < length; ++k) packed[slot(k, i, tile)] = 0;
    }
    packed += tile * length;
  }
}

void pack_rows(const TapGemm& g, const Block& block, int64_t row, int64_t rows, float* packed) {
  if (g.source_dtype == DType::bf16) return pack_rows_of<bf16>(g, block, row, rows, packed);
  pack_rows_of<float>(g, block, row, rows, packed);
}

TW_INLINE V load_term(const View& view, int64_t at, int64_t count) {
  if (view.dtype == DType::bf16) {
    const bf16* from = static_cast<const bf16*>(view.pointer) + at;
    return count == lanes ? V::load(from) : V::load(from, count);
  }
  const float* from = static_cast<const float*>(view.pointer) + at;
  return count == lanes ? V::load(from) : V::load(from, count);
}

// y = alpha * sums + bias + temb + residual, for one row and the `count` channels from `channel`.
template <class T>
void finish_row(const TapGemm& g, const Position& p, const float* sums, int64_t channel, int64_t count) {
  int64_t pixel = p.sample;
  for (int axis = 0; axis < 3; ++axis) {
    const TapAxis& a = g.axes[axis];
    pixel = pixel * a.output + a.out + p.at[axis] * a.out_step;
  }
  T* out = static_cast<T*>(g.output) + pixel * g.output_stride + channel;
  for (int64_t j = 0; j < count; j += lanes) {
    const int64_t n = count - j < lanes ? count - j : lanes;
    V y = V::load(sums + j);
    if (g.alpha != 1) y *= V(g.alpha);
    if (g.bias) y += load_term(g.bias, channel + j, n);
    if (g.temb) y += load_term(g.temb, p.sample * g.channels + channel + j, n);
    if (g.residual) y += load_term(g.residual, pixel * g.output_stride + channel + j, n);
    if (n == lanes)
      y.store(out + j);
    else
      y.store(out + j, n);
  }
}

// The last panel may be half as wide.
int64_t vectors_of(const TapGemm& g, int64_t panel) {
  return g.channels - panel * panel_channels <= lanes ? 1 : panel_vectors;
}

void run(const TapGemm& g, const DepthBlocks& blocks, int64_t row, int64_t rows, int64_t panel_begin,
         int64_t panel_end, float* packed, float* sums) {
  const int64_t panel_size = blocks.count * blocks.stride * panel_channels;
  const int64_t tiles = (rows + tile_rows - 1) / tile_rows;
  float none[tile_rows * panel_channels] = {};
  for (int64_t index = 0; index < (blocks.count ? blocks.count : 1); ++index) {
    const bool last = index + 1 >= blocks.count;
    Block block{};
    if (blocks.count) {
      block = block_at(g, blocks, index);
      pack_rows(g, block, row, rows, packed);
    }
    const int64_t chunks = chunks_of(block);
    for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
      const int64_t vectors = vectors_of(g, panel);
      const float* b = g.panels + panel * panel_size + index * blocks.stride * vectors * lanes;
      Position p = last ? position_of(g, row) : Position{};
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t tile = rows_of_tile(rows - t * tile_rows);
        const float* a = packed + t * tile_rows * chunks * chunk;
        // Only a sum that goes on in the next block has to be kept.
        float* c =
            blocks.count > 1 ? sums + ((panel - panel_begin) * tiles + t) * tile_rows * panel_channels : none;
        if (blocks.count && vectors == 1)
          multiply_rows<1>(tile, a, b, chunks, c, index > 0);
        else if (blocks.count)
          multiply_rows<panel_vectors>(tile, a, b, chunks, c, index > 0);
        if (!last) continue;
        const int64_t channel = panel * panel_channels, left = g.channels - channel;
        for (int64_t i = 0; i < tile && t * tile_rows + i < rows; ++i, advance(g, p)) {
          const float* from = c + i * vectors * lanes;
          const int64_t count = left < vectors * lanes ? left : vectors * lanes;
          if (g.output_dtype == DType::bf16)
            finish_row<bf16>(g, p, from, channel, count);
          else
            finish_row<float>(g, p, from, channel, count);
        }
      }
    }
  }
}

template <class T>
void pack_panels_of(const TapGemm& g, const DepthBlocks& blocks, const PanelSource& w, float* panels,
                    int64_t begin, int64_t end) {
  for (int64_t panel = begin; panel < end; ++panel) {
    const int64_t width = vectors_of(g, panel) * lanes, channel = panel * panel_channels;
    const int64_t count = g.channels - channel < width ? g.channels - channel : width;
    for (int64_t index = 0; index < blocks.count; ++index) {
      const Block block = block_at(g, blocks, index);
      float* to =
          panels + panel * blocks.count * blocks.stride * panel_channels + index * blocks.stride * width;
      const int64_t depth = block.depth_end - block.depth_begin;
      int64_t k = 0;
      for (int64_t tap = block.tap_begin; tap < block.tap_end; ++tap, k += depth) {
        int64_t rest = tap, flat = 0, scale = 1;
        for (int axis = 2; axis >= 0; --axis) {
          const TapAxis& a = g.axes[axis];
          flat += (a.tap_first + rest % a.taps * a.tap_step) * scale;
          rest /= a.taps;
          scale *= a.kernel;
        }
        const T* from = static_cast<const T*>(w.data) + flat * w.tap_stride +
                        block.depth_begin * w.depth_stride + channel * w.channel_stride;
        if (w.channel_stride == 1) {
          for (int64_t c = 0; c < depth; ++c) {
            for (int64_t j = 0; j < count; ++j)
              to[(k + c) * width + j] = static_cast<float>(from[c * w.depth_stride + j]);
            for (int64_t j = count; j < width; ++j) to[(k + c) * width + j] = 0;
          }
        } else {
          for (int64_t j = 0; j < width; ++j)
            for (int64_t c = 0; c < depth; ++c)
              to[(k + c) * width + j] =
                  j < count ? static_cast<float>(from[c * w.depth_stride + j * w.channel_stride]) : 0.0f;
        }
      }
      for (int64_t i = k * width; i < chunks_of(block) * chunk * width; ++i) to[i] = 0;
    }
  }
}

void pack_panels(const TapGemm& g, const DepthBlocks& blocks, const PanelSource& w, float* panels,
                 int64_t begin, int64_t end) {
  if (w.dtype == DType::bf16) return pack_panels_of<bf16>(g, blocks, w, panels, begin, end);
  pack_panels_of<float>(g, blocks, w, panels, begin, end);
}

}  // namespace

template <>
const TapGemmKernels& kernels_of<TapGemmKernels, Isa::TW_ISA>() {
  static const TapGemmKernels kernels{tile_rows, panel_channels, pack_panels, run};
  return kernels;
}

}  // namespace tw::kernels
