// Algorithm, for one row of six points, so that nothing is transformed twice and what is stays in the L2
// cache: a chunk of tiles of x becomes [point][depth / 16][tile][16]; then, a panel of channels at a time,
// the chunk of dy becomes [point][tile][NR], and each block of MR x NR sums of a point runs over the chunk's
// tiles in registers and is folded at once into the three columns of G. Sums over tiles are taken in their
// order.
#include "kernels/cpu/isa/winograd_gradient.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/vec.h"
#include "kernels/cpu/isa/winograd_tile.h"
#include "kernels/cpu/isa/winograd_transform.h"
#include "kernels/cpu/rounding.h"

namespace tw::kernels {
namespace {

using namespace TW_ISA;
using V = Vec<float>;
constexpr int64_t lanes = V::lanes, chunk = winograd_chunk;
// 8 x 3 registers of sums out of 32 (AVX-512), 4 x 3 out of 16.
constexpr int group_depths = TW_VECTOR_BYTES == 64 ? 8 : 4;
constexpr int panel_vectors = 3;
constexpr int64_t panel_channels = panel_vectors * lanes;
constexpr int side = winograd_side, tile_side = winograd_tile;
constexpr int64_t folded_block = 3 * group_depths * panel_channels;

struct Sizes {
  int64_t padded, groups, panels;
  explicit Sizes(const WinogradConv& g)
      : padded(round_up(g.depth, chunk)),
        groups(padded / group_depths),
        panels(ceil_div(g.channels, panel_channels)) {}
  int64_t folded_at(int64_t row, int64_t panel, int64_t group) const {
    return ((row * panels + panel) * groups + group) * folded_block;
  }
};

// Row `row` of B^T x B, one vector of channels: 6 points, `stride` apart.
template <int row, class Load>
TW_INLINE void transform_source(const Load& load, int64_t stride, float* to) {
  V t[side], v[side];
#pragma GCC unroll 6
  for (int j = 0; j < side; ++j) t[j] = winograd_data_row<row>([&](int i) { return load(i, j); });
  winograd_data(t, v);
#pragma GCC unroll 6
  for (int j = 0; j < side; ++j) v[j].store(to + j * stride);
}

// Row `row` of A dy A^T.
template <int row, class Load>
TW_INLINE void transform_gradient(const Load& load, int64_t stride, float* to) {
  V t[tile_side], m[side];
#pragma GCC unroll 4
  for (int j = 0; j < tile_side; ++j) t[j] = winograd_gradient_row<row>([&](int i) { return load(i, j); });
  winograd_gradient(t, m);
#pragma GCC unroll 6
  for (int j = 0; j < side; ++j) m[j].store(to + j * stride);
}

// Tiles [tile, tile + tiles) of x to [point][depth / 16][tile][16].
template <int row, class T>
void transform_sources(const WinogradConv& g, int64_t tile, int64_t tiles, float* to) {
  const int64_t padded = round_up(g.depth, chunk), stride = padded * tiles;
  for (int64_t t = 0; t < tiles; ++t) {
    const auto square = source_square<T>(g, place_of(g, tile + t));
    const bool whole = square.template inside<side>();
    for (int64_t c = 0; c < padded; c += lanes) {
      float* at = to + (c / chunk * tiles + t) * chunk + c % chunk;
      if (whole && c + lanes <= g.depth) {
        transform_source<row>([&](int i, int j) { return V::load(square.pixel(i, j) + c); }, stride, at);
        continue;
      }
      float patch[side * side * lanes];
      square.template gather<side>(c, patch);
      transform_source<row>([&](int i, int j) { return V::load(patch + (i * side + j) * lanes); }, stride,
                            at);
    }
  }
}

// `vectors` vectors of channels from `channel` of the tiles of dy to [point][tile][vectors]; `sum`, if there
// is one, grows by the pixels of each channel.
template <int row, class T>
void transform_gradients(const WinogradGradient& gradient, int64_t tile, int64_t tiles, int64_t channel,
                         int64_t vectors, float* to, float* sum) {
  const WinogradConv& g = gradient.conv;
  const int64_t stride = tiles * vectors * lanes;
  V total[panel_vectors] = {0.0f, 0.0f, 0.0f};
  for (int64_t t = 0; t < tiles; ++t) {
    const WinogradPlace p = place_of(g, tile + t);
    const WinogradSquare<T> square{
        static_cast<const T*>(gradient.dy) + p.sample * g.output_h * g.output_w * g.channels,
        g.output_h,
        g.output_w,
        g.channels,
        p.row,
        p.column};
    const bool whole = square.template inside<tile_side>();
    for (int64_t v = 0; v < vectors; ++v) {
      const int64_t c = channel + v * lanes;
      float patch[tile_side * tile_side * lanes];
      const bool direct = whole && c + lanes <= g.channels;
      if (!direct) square.template gather<tile_side>(c, patch);
      const auto load = [&](int i, int j) {
        return direct ? V::load(square.pixel(i, j) + c) : V::load(patch + (i * tile_side + j) * lanes);
      };
      transform_gradient<row>(load, stride, to + (t * vectors + v) * lanes);
      if (!sum) continue;
      for (int i = 0; i < tile_side; ++i) total[v] += (load(i, 0) + load(i, 1)) + (load(i, 2) + load(i, 3));
    }
  }
  for (int64_t v = 0; sum && v < vectors; ++v) {
    const int64_t left = g.channels - channel - v * lanes;
    if (left <= 0) continue;
    const int64_t count = left < lanes ? left : lanes;
    float* at = sum + channel + v * lanes;
    (V::load(at, count) + total[v]).store(at, count);
  }
}

// sums(MR, NV) = over the tiles of x(tile, MR) dy(tile, NV); folded[b] += sums * g[b]. x as [tile][16].
template <int MR, int NV>
[[gnu::noinline]] void multiply(const float* __restrict x, const float* __restrict dy, int64_t tiles,
                                const float* g, float* __restrict folded) {
  typename V::Native sums[MR][NV];
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 3
    for (int j = 0; j < NV; ++j) sums[i][j] = V(0.0f).native;
  for (int64_t t = 0; t < tiles; ++t) {
    typename V::Native row[NV];
#pragma GCC unroll 3
    for (int j = 0; j < NV; ++j) row[j] = V::load(dy + j * lanes).native;
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      const typename V::Native value = V(x[i]).native;
#pragma GCC unroll 3
      for (int j = 0; j < NV; ++j) sums[i][j] = value * row[j] + sums[i][j];
    }
    x += chunk;
    dy += NV * lanes;
  }
  for (int b = 0; b < 3; ++b) {
    if (g[b] == 0) continue;
    const V weight(g[b]);
    float* to = folded + b * group_depths * panel_channels;
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 3
      for (int j = 0; j < NV; ++j) {
        float* at = to + i * panel_channels + j * lanes;
        fma(weight, V(sums[i][j]), V::load(at)).store(at);
      }
  }
}

template <int row, class T>
void run_row(const WinogradGradient& gradient, int64_t begin, int64_t end, float* transformed) {
  const WinogradConv& g = gradient.conv;
  const Sizes sizes(g);
  float* dy = transformed + side * gradient.chunk * sizes.padded;
  for (float* at = gradient.folded + sizes.folded_at(row, begin, 0);
       at < gradient.folded + sizes.folded_at(row, end, 0); at += lanes)
    V(0.0f).store(at);
  float* sum = row == 1 ? gradient.db : nullptr;
  for (int64_t c = begin * panel_channels; sum && c < end * panel_channels && c < g.channels; ++c) sum[c] = 0;
  for (int64_t tile = 0; tile < g.tiles(); tile += gradient.chunk) {
    const int64_t left = g.tiles() - tile, tiles = left < gradient.chunk ? left : gradient.chunk;
    transform_sources<row, T>(g, tile, tiles, transformed);
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t channel = panel * panel_channels, vectors_left = ceil_div(g.channels - channel, lanes);
      const int64_t vectors = vectors_left < panel_vectors ? vectors_left : panel_vectors;
      transform_gradients<row, T>(gradient, tile, tiles, channel, vectors, dy, sum);
      const auto run = vectors == 1   ? multiply<group_depths, 1>
                       : vectors == 2 ? multiply<group_depths, 2>
                                      : multiply<group_depths, 3>;
      for (int point = 0; point < side; ++point)
        for (int64_t group = 0; group < sizes.groups; ++group) {
          const int64_t depth = group * group_depths;
          run(transformed + ((point * sizes.padded / chunk + depth / chunk) * tiles) * chunk + depth % chunk,
              dy + point * tiles * vectors * lanes, tiles, winograd_g[point],
              gradient.folded + sizes.folded_at(row, panel, group));
        }
    }
  }
}

template <class T>
void run_typed(const WinogradGradient& g, int row, int64_t begin, int64_t end, float* transformed) {
  switch (row) {
    case 0:
      return run_row<0, T>(g, begin, end, transformed);
    case 1:
      return run_row<1, T>(g, begin, end, transformed);
    case 2:
      return run_row<2, T>(g, begin, end, transformed);
    case 3:
      return run_row<3, T>(g, begin, end, transformed);
    case 4:
      return run_row<4, T>(g, begin, end, transformed);
    default:
      return run_row<5, T>(g, begin, end, transformed);
  }
}

void run(const WinogradGradient& g, int row, int64_t begin, int64_t end, float* transformed) {
  const auto typed = g.conv.dtype == DType::bf16 ? run_typed<bf16> : run_typed<float>;
  typed(g, row, begin, end, transformed);
}

// dw(a, b, c, o) = sum over the rows r of G[r][a] folded[r][b](c, o).
void finish(const WinogradGradient& gradient, int64_t begin, int64_t end) {
  const WinogradConv& g = gradient.conv;
  const Sizes sizes(g);
  const int64_t row_step = sizes.folded_at(1, 0, 0);
  for (int64_t group = begin; group < end; ++group)
    for (int64_t i = 0; i < group_depths && group * group_depths + i < g.depth; ++i) {
      const int64_t depth = group * group_depths + i;
      for (int64_t channel = 0; channel < g.channels; channel += lanes) {
        const int64_t panel = channel / panel_channels, left = g.channels - channel;
        const float* from = gradient.folded + sizes.folded_at(0, panel, group) + i * panel_channels +
                            channel % panel_channels;
        for (int b = 0; b < 3; ++b) {
          V tap[3] = {0.0f, 0.0f, 0.0f};
#pragma GCC unroll 6
          for (int r = 0; r < side; ++r) {
            const V value = V::load(from + r * row_step + b * group_depths * panel_channels);
#pragma GCC unroll 3
            for (int a = 0; a < 3; ++a)
              if (winograd_g[r][a] != 0) tap[a] = fma(V(winograd_g[r][a]), value, tap[a]);
          }
#pragma GCC unroll 3
          for (int a = 0; a < 3; ++a) {
            float* at = gradient.dw + ((a * 3 + b) * g.depth + depth) * g.channels + channel;
            if (left >= lanes)
              tap[a].store(at);
            else
              tap[a].store(at, left);
          }
        }
      }
    }
}

}  // namespace

template <>
const WinogradGradientKernels& kernels_of<WinogradGradientKernels, Isa::TW_ISA>() {
  static const WinogradGradientKernels kernels{group_depths, panel_channels, run, finish};
  return kernels;
}

}  // namespace tw::kernels
