// Algorithm, for a block of tiles whose transforms stay in the L2 cache: the input transform, vectorised over
// channels, writes [point][group][depth / 16][MR][16], so that the micro-kernel has one pointer and constant
// offsets; each panel of NR channels is then 36 products into [tile][point][NR], from which the output
// transform writes y with the terms added. Weights are transformed on the way, a row of six points of some
// depths of a panel at a time, which stay in the L1 cache until the tiles are multiplied with them: 50 cycles
// for 16 pairs of channels against the 18 of each tile, and a quarter of the bytes from memory that
// transformed weights would be. The next panel is fetched meanwhile.
#include "kernels/cpu/isa/winograd.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/transpose.h"
#include "kernels/cpu/isa/vec.h"
#include "kernels/cpu/isa/winograd_tile.h"
#include "kernels/cpu/isa/winograd_transform.h"
#include "kernels/cpu/rounding.h"

namespace tw::kernels {
namespace {

using namespace TW_ISA;
using V = Vec<float>;
constexpr int64_t lanes = V::lanes;
constexpr int64_t chunk = winograd_chunk;
// 12 x 2 registers of sums out of 32 (AVX-512), 6 x 2 out of 16.
constexpr int group_tiles = TW_VECTOR_BYTES == 64 ? 12 : 6, group_unit = group_tiles / 3;
constexpr int panel_vectors = 2;
constexpr int64_t panel_channels = panel_vectors * lanes;
constexpr int side = winograd_side;  // of a tile's input
constexpr int64_t cache_line = 64;

// c(MR rows, winograd_points * NV apart) += a(MR, chunks * 16) b(chunks * 16, NV); a as [chunk][MR][16]. The
// `first` terms replace what is in c. A line from `ahead` on is fetched with every term.
template <int MR, int NV>
[[gnu::noinline]] void multiply(const float* __restrict a, const float* __restrict b, int64_t chunks,
                                bool first, const char* ahead, float* __restrict c) {
  typename V::Native sums[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j)
      sums[i][j] = first ? V(0.0f).native : V::load(c + (i * winograd_points * NV + j) * lanes).native;
  for (int64_t k = 0; k < chunks; ++k) {
    for (int kk = 0; kk < chunk; ++kk) {
      if (kk < MR) __builtin_prefetch(a + (MR + kk) * chunk);
      typename V::Native weight[NV];
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) weight[j] = V::load(b + j * lanes).native;
      __builtin_prefetch(ahead + kk * cache_line, 0, 2);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        const typename V::Native x = V(a[i * chunk + kk]).native;
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) sums[i][j] = x * weight[j] + sums[i][j];
      }
      b += NV * lanes;
    }
    a += MR * chunk;
    ahead += chunk * cache_line;
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) V(sums[i][j]).store(c + (i * winograd_points * NV + j) * lanes);
}

template <int NV>
void multiply_group(int64_t rows, const float* a, const float* b, int64_t chunks, bool first,
                    const char* ahead, float* c) {
  if (rows == group_tiles) return multiply<group_tiles, NV>(a, b, chunks, first, ahead, c);
  if (rows == group_tiles * 2 / 3) return multiply<group_tiles * 2 / 3, NV>(a, b, chunks, first, ahead, c);
  multiply<group_tiles / 3, NV>(a, b, chunks, first, ahead, c);
}

// The tiles of a block in groups as equal as units can be: 16 = 8 + 8, not 12 + 4.
struct Groups {
  int64_t count, small, larger;
  explicit Groups(int64_t tiles) {
    const int64_t units = (tiles + group_unit - 1) / group_unit;
    count = (units + 2) / 3;
    small = units / count;
    larger = units % count;
  }
  int64_t begin(int64_t group) const {
    return (group * small + (group < larger ? group : larger)) * group_unit;
  }
  int64_t rows(int64_t group) const { return begin(group + 1) - begin(group); }
};

// V = B^T d B of the lanes that `load(row, column)` gives; point (i, j) goes to to[(6 i + j) * stride].
template <class Load>
TW_INLINE void transform_input(const Load& load, int64_t stride, float* to) {
  using P = WinogradPoints;
  const auto finish = [&](int row, const V(&t)[side]) {
    V v[side];
    winograd_data(t, v);
#pragma GCC unroll 6
    for (int j = 0; j < side; ++j) v[j].store(to + (row * side + j) * stride);
  };
  // Rows in pairs and from memory each time: 12 intermediate values fit into the registers, 36 would not.
  V a[side], b[side];
#pragma GCC unroll 6
  for (int j = 0; j < side; ++j) a[j] = winograd_data_first(load(0, j), load(2, j), load(4, j));
  finish(0, a);
#pragma GCC unroll 6
  for (int j = 0; j < side; ++j)
    winograd_data_pair(P::p, P::q2, load(1, j), load(2, j), load(3, j), load(4, j), a[j], b[j]);
  finish(1, a);
  finish(2, b);
#pragma GCC unroll 6
  for (int j = 0; j < side; ++j)
    winograd_data_pair(P::q, P::p2, load(1, j), load(2, j), load(3, j), load(4, j), a[j], b[j]);
  finish(3, a);
  finish(4, b);
#pragma GCC unroll 6
  for (int j = 0; j < side; ++j) a[j] = winograd_data_last(load(1, j), load(3, j), load(5, j));
  finish(5, a);
}

// The input of one tile, `to` at its row of its group; tiles at a border are gathered first.
template <class T>
void transform_tile(const WinogradConv& g, const WinogradPlace& p, int64_t rows, int64_t point_stride,
                    float* to) {
  const auto square = source_square<T>(g, p);
  const bool whole = square.template inside<side>();
  const int64_t padded = round_up(g.depth, chunk);
  for (int64_t c = 0; c < padded; c += lanes) {
    float* at = to + c / chunk * rows * chunk + c % chunk;
    if (whole && c + lanes <= g.depth) {
      transform_input([&](int i, int j) { return V::load(square.pixel(i, j) + c); }, point_stride, at);
      continue;
    }
    float patch[side * side * lanes];
    square.template gather<side>(c, patch);
    transform_input([&](int i, int j) { return V::load(patch + (i * side + j) * lanes); }, point_stride, at);
  }
}

template <class T>
void transform_block(const WinogradConv& g, const Groups& groups, int64_t tile, int64_t tiles, int64_t stride,
                     float* transformed) {
  const int64_t padded = round_up(g.depth, chunk);
  for (int64_t group = 0; group < groups.count; ++group) {
    const int64_t first = groups.begin(group), rows = groups.rows(group);
    float* to = transformed + first * padded;
    for (int64_t i = 0; i < rows; ++i) {
      if (first + i < tiles) {
        transform_tile<T>(g, place_of(g, tile + first + i), rows, stride, to + i * chunk);
        continue;
      }
      for (int64_t point = 0; point < winograd_points; ++point)
        for (int64_t c = 0; c < padded; c += lanes)
          V(0.0f).store(to + point * stride + (c / chunk * rows + i) * chunk + c % chunk);
    }
  }
}

TW_INLINE V load_term(const View& view, int64_t at, int64_t count) {
  if (view.dtype == DType::bf16) {
    const bf16* from = static_cast<const bf16*>(view.pointer) + at;
    return count == lanes ? V::load(from) : V::load(from, count);
  }
  const float* from = static_cast<const float*>(view.pointer) + at;
  return count == lanes ? V::load(from) : V::load(from, count);
}

// Y = A^T m A, written with the terms added: `count` channels from `channel` of one tile.
template <class T>
void write_tile(const WinogradConv& g, const WinogradPlace& p, const float* products, int64_t stride,
                int64_t channel, int64_t count) {
  V half[side][winograd_tile];
#pragma GCC unroll 6
  for (int j = 0; j < side; ++j) {
    V m[side];
#pragma GCC unroll 6
    for (int i = 0; i < side; ++i) m[i] = V::load(products + (i * side + j) * stride);
    winograd_output(m, half[j]);
  }
  V every_pixel(0.0f);
  const bool constant = g.bias || g.temb;
  if (g.bias) every_pixel = load_term(g.bias, channel, count);
  if (g.temb) every_pixel += load_term(g.temb, p.sample * g.channels + channel, count);
  const int64_t rows = g.output_h - p.row, columns = g.output_w - p.column;
#pragma GCC unroll 4
  for (int i = 0; i < winograd_tile; ++i) {
    if (i >= rows) break;
    V m[side], y[winograd_tile];
#pragma GCC unroll 6
    for (int j = 0; j < side; ++j) m[j] = half[j][i];
    winograd_output(m, y);
    const int64_t first =
        ((p.sample * g.output_h + p.row + i) * g.output_w + p.column) * g.channels + channel;
#pragma GCC unroll 4
    for (int j = 0; j < winograd_tile; ++j) {
      if (j >= columns) break;
      const int64_t at = first + j * g.channels;
      V result = y[j];
      if (constant) result += every_pixel;
      if (g.residual) result += load_term(g.residual, at, count);
      T* to = static_cast<T*>(g.output) + at;
      if (count == lanes)
        result.store(to);
      else
        result.store(to, count);
    }
  }
}

// The last panel may be half as wide.
int64_t vectors_of(const WinogradConv& g, int64_t panel) {
  return g.channels - panel * panel_channels <= lanes ? 1 : panel_vectors;
}

// Row `row` of U = G w G^T of a panel: [point][depth][width], points `stride` apart.
template <int row>
void transform_weights(const float* __restrict panel, int64_t padded, int64_t width, int64_t stride,
                       float* __restrict to) {
  for (int64_t depth = 0; depth < padded; depth += chunk) {
    for (int64_t at = 0; at < chunk * width; at += lanes) {
      V half[3], u[side];
#pragma GCC unroll 3
      for (int b = 0; b < 3; ++b) {
        const auto tap = [&](int a) { return V::load(panel + (a * 3 + b) * chunk * width + at); };
        half[b] = winograd_weight_row<row>(tap(0), tap(1), tap(2));
      }
      winograd_weight(half[0], half[1], half[2], u);
#pragma GCC unroll 6
      for (int j = 0; j < side; ++j) u[j].store(to + j * stride + at);
    }
    panel += 9 * chunk * width;
    to += chunk * width;
  }
}

constexpr decltype(&transform_weights<0>) transform_row[side] = {transform_weights<0>, transform_weights<1>,
                                                                 transform_weights<2>, transform_weights<3>,
                                                                 transform_weights<4>, transform_weights<5>};

template <class T>
void run_typed(const WinogradConv& g, int64_t tile, int64_t tiles, int64_t panel_begin, int64_t panel_end,
               const WinogradScratch& scratch) {
  const Groups groups(tiles);
  const int64_t padded = round_up(g.depth, chunk);
  const int64_t stride = winograd_point_stride(g.depth, round_up(tiles, group_tiles));
  // Of one group of tiles everything that belongs to 16 depths fits into the L1 cache: their weights are read
  // once, for all rows of points. With more groups the sums do not, and are touched less often instead.
  const bool few = groups.count == 1;
  const int64_t depths_at_once = few ? winograd_weight_depths / 2 : winograd_weight_depths;
  const int64_t parts = ceil_div(padded, depths_at_once);
  transform_block<T>(g, groups, tile, tiles, stride, scratch.tiles);
  for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
    const int64_t vectors = vectors_of(g, panel), width = vectors * lanes;
    const auto multiply_rows = vectors == 1 ? multiply_group<1> : multiply_group<panel_vectors>;
    const float* weights = g.panels + panel * winograd_panel_size(g.depth, panel_channels);
    const int64_t weight_stride = winograd_point_stride(winograd_weight_depths, width);
    const int64_t panel_size = 9 * padded * width;
    // Every product fetches its share of the next panel.
    const bool last = panel + 1 == panel_end;
    const char* ahead = reinterpret_cast<const char*>(last ? weights : weights + panel_size);
    const int64_t products = winograd_points * groups.count * parts;
    const int64_t share = last ? 0 : panel_size * static_cast<int64_t>(sizeof(float)) / products;
    for (int64_t i = 0; i < side * parts; ++i) {
      const int64_t row = few ? i % side : i / parts, depth = (few ? i / side : i % parts) * depths_at_once;
      const int64_t depths = padded - depth < depths_at_once ? padded - depth : depths_at_once;
      transform_row[row](weights + 9 * depth * width, depths, width, weight_stride, scratch.weights);
      for (int column = 0; column < side; ++column)
        for (int64_t group = 0; group < groups.count; ++group, ahead += share) {
          const int64_t point = row * side + column, rows = groups.rows(group), first = groups.begin(group);
          multiply_rows(rows, scratch.tiles + point * stride + first * padded + depth * rows,
                        scratch.weights + column * weight_stride, depths / chunk, depth == 0, ahead,
                        scratch.products + (first * winograd_points + point) * width);
        }
    }
    for (int64_t t = 0; t < tiles; ++t)
      for (int64_t j = 0; j < vectors; ++j) {
        const int64_t channel = panel * panel_channels + j * lanes, left = g.channels - channel;
        if (left > 0)
          write_tile<T>(g, place_of(g, tile + t), scratch.products + t * winograd_points * width + j * lanes,
                        width, channel, left < lanes ? left : lanes);
      }
  }
}

void run(const WinogradConv& g, int64_t tile, int64_t tiles, int64_t panel_begin, int64_t panel_end,
         const WinogradScratch& scratch) {
  const auto typed = g.dtype == DType::bf16 ? run_typed<bf16> : run_typed<float>;
  typed(g, tile, tiles, panel_begin, panel_end, scratch);
}

// In the order of the source: it comes from memory, the panel stays in the cache.
template <class T>
void pack_typed(const WinogradConv& g, const WinogradWeight& w, float* panels, int64_t begin, int64_t end) {
  const int64_t padded = round_up(g.depth, chunk);
  for (int64_t panel = begin; panel < end; ++panel) {
    const int64_t width = vectors_of(g, panel) * lanes, channel = panel * panel_channels;
    const int64_t count = g.channels - channel < width ? g.channels - channel : width;
    float* const taps = panels + panel * winograd_panel_size(g.depth, panel_channels);
    if (g.depth < padded || count < width)
      for (int64_t i = 0; i < 9 * padded * width; ++i) taps[i] = 0;
    for (int64_t tap = 0; tap < 9; ++tap) {
      const T* from = static_cast<const T*>(w.data) + tap / 3 * w.row_stride + tap % 3 * w.column_stride +
                      channel * w.channel_stride;
      const auto at = [&](int64_t c) { return taps + ((c / chunk * 9 + tap) * chunk + c % chunk) * width; };
      if (w.channel_stride == 1) {
        for (int64_t c = 0; c < g.depth; ++c)
          for (int64_t j = 0; j < count; ++j) at(c)[j] = static_cast<float>(from[c * w.depth_stride + j]);
      } else {  // the data gradient: depths lie side by side
        for (int64_t j = 0; j < count; j += lanes)
          for (int64_t c = 0; c < g.depth; c += chunk) {
            const int64_t rows = count - j < lanes ? count - j : lanes, left = g.depth - c;
            copy_transposed(from + j * w.channel_stride + c, w.channel_stride, rows,
                            left < chunk ? left : chunk, at(c) + j, width);
          }
      }
    }
  }
}

void pack(const WinogradConv& g, const WinogradWeight& w, float* panels, int64_t begin, int64_t end) {
  if (w.dtype == DType::bf16) return pack_typed<bf16>(g, w, panels, begin, end);
  pack_typed<float>(g, w, panels, begin, end);
}

}  // namespace

template <>
const WinogradKernels& kernels_of<WinogradKernels, Isa::TW_ISA>() {
  static const WinogradKernels kernels{group_tiles, panel_channels, pack, run};
  return kernels;
}

}  // namespace tw::kernels
