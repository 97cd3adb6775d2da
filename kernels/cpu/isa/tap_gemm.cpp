// Algorithm: a chunk of the source is copied to f32 with its zero border, once for all taps, so that a tap is
// an offset and the taps of one row lie behind each other. A tile of MR pixels x NR channels then runs over
// all taps and k with its sums in registers, the pixels read by broadcasts, the weights as one packed panel
// that streams from the L2 cache. The tile adds the terms and rounds.
#include "kernels/cpu/isa/tap_gemm.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/transpose.h"
#include "kernels/cpu/isa/vec.h"

namespace tw::kernels {
namespace {

using TW_ISA::Vec;
using V = Vec<float>;
constexpr int lanes = V::lanes;
// 12 x 2 registers of sums out of 32 (AVX-512), 6 x 2 out of 16.
constexpr int group = TW_VECTOR_BYTES == 64 ? 4 : 2;
constexpr int most_groups = 3;
constexpr int panel_vectors = 2;
constexpr int panel_channels = panel_vectors * lanes;

// The terms of a sum: `runs` stretches of `length` of them, run r of a pixel at pixel + r's offset.
struct Runs {
  int64_t rows, planes, columns;  // taps along each axis; along columns only if they are not one run
  int64_t row, plane, column;     // steps between them
  int64_t length;
};

// Memory that will be read next, fetched a little at every step.
struct Ahead {
  const char* at;
  int64_t step;
};

// Floats between what is read of a panel that comes from memory and what is fetched.
constexpr int stream_distance = 2048;
// With more tiles a panel, there is time to fetch the next one on the way.
constexpr int64_t most_tiles_of_stream = 8;

// c(G * group, NV) = sums over the runs; the pixels of group i at at[i] + j * pitch, b as [term][NV], which
// comes from memory if `stream`.
template <int G, int NV, bool stream>
[[gnu::noinline]] void multiply(const float* const* at, int64_t pitch, const Runs& runs, const float* b,
                                Ahead ahead, float* c) {
  int64_t steps[group];
#pragma GCC unroll 4
  for (int p = 0; p < group; ++p) steps[p] = p * pitch;
  typename V::Native sums[G * group][NV];
#pragma GCC unroll 16
  for (int i = 0; i < G * group; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) sums[i][j] = V(0.0f).native;
  const auto one = [&](const float* const(&x)[G], int64_t k) __attribute__((always_inline)) {
    typename V::Native weight[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) weight[j] = V::load(b + j * lanes).native;
      // Hides that k is constant, so that it goes into the address and not into a register for each sum with
      // it.
#pragma GCC unroll 4
    for (int p = 1; p < group; ++p) asm("" : "+r"(steps[p]));
#pragma GCC unroll 4
    for (int i = 0; i < G; ++i)
#pragma GCC unroll 4
      for (int p = 0; p < group; ++p) {
        const typename V::Native pixel = V((x[i] + steps[p])[k]).native;
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) sums[i * group + p][j] = pixel * weight[j] + sums[i * group + p][j];
      }
    if constexpr (stream)
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) __builtin_prefetch(b + stream_distance + j * lanes, 0, 2);
    b += NV * lanes;
  };
  for (int64_t plane = 0; plane < runs.planes; ++plane)
    for (int64_t row = 0; row < runs.rows; ++row)
      for (int64_t column = 0; column < runs.columns; ++column) {
        const int64_t offset = plane * runs.plane + row * runs.row + column * runs.column;
        const float* x[G];
#pragma GCC unroll 4
        for (int i = 0; i < G; ++i) x[i] = at[i] + offset;
        int64_t k = runs.length;
        for (; k >= 4; k -= 4) {
          __builtin_prefetch(ahead.at, 0, 2);
          ahead.at += ahead.step;
          one(x, 0), one(x, 1), one(x, 2), one(x, 3);
#pragma GCC unroll 4
          for (int i = 0; i < G; ++i) x[i] += 4;
        }
        for (; k > 0; --k) {
          one(x, 0);
#pragma GCC unroll 4
          for (int i = 0; i < G; ++i) ++x[i];
        }
      }
#pragma GCC unroll 16
  for (int i = 0; i < G * group; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) V(sums[i][j]).store(c + (i * NV + j) * lanes);
}

template <int NV, bool stream>
void multiply_groups(int64_t groups, const float* const* at, int64_t pitch, const Runs& runs, const float* b,
                     const Ahead& ahead, float* c) {
  if (groups == 3) return multiply<3, NV, stream>(at, pitch, runs, b, ahead, c);
  if (groups == 2) return multiply<2, NV, stream>(at, pitch, runs, b, ahead, c);
  multiply<1, NV, stream>(at, pitch, runs, b, ahead, c);
}

// `count` channels of a pixel; `from` null gives zeros.
template <class T>
TW_INLINE void copy(const T* from, int64_t stride, int64_t count, float* to) {
  int64_t k = 0;
  if (from && stride == 1)
    for (; k + lanes <= count; k += lanes) V::load(from + k).store(to + k);
  for (; k < count; ++k) to[k] = from ? static_cast<float>(from[k * stride]) : 0.0f;
}

// Columns [first, first + columns) of a row of the source, zero outside of it.
template <class T>
void copy_row(const TapGemm& g, const T* row, int64_t first, int64_t columns, float* to) {
  const int64_t extent = g.axes[2].source, end = first + columns;
  const int64_t left = first < 0 ? (columns < -first ? columns : -first) : 0;
  const int64_t low = first + left, high = end < extent ? end : extent;
  copy<T>(nullptr, 1, left * g.depth, to);
  to += left * g.depth;
  if (g.pixel_stride == g.depth && g.depth_stride == 1) {
    copy(row + low * g.depth, 1, high > low ? (high - low) * g.depth : 0, to);
    to += high > low ? (high - low) * g.depth : 0;
  } else {
    for (int64_t x = low; x < high; ++x, to += g.depth)
      copy(row + x * g.pixel_stride, g.depth_stride, g.depth, to);
  }
  if (end > high) copy<T>(nullptr, 1, (end - (high > low ? high : low)) * g.depth, to);
}

template <class T>
void pack_source_of(const TapGemm& g, const GridChunk& c, float* packed) {
  const TapAxis &depth = g.axes[0], &height = g.axes[1], &width = g.axes[2];
  const int64_t rows = packed_extent(height, c.rows), columns = packed_columns(g, c, group);
  const int64_t top = c.row * height.source_step + height.offset,
                left = c.column * width.source_step + width.offset;
  for (int64_t slice = c.slice; slice < c.slice + c.slices; ++slice)
    for (int64_t tap = 0; tap < depth.taps; ++tap) {
      const int64_t z = slice % depth.grid * depth.source_step + depth.offset + tap * depth.offset_step;
      for (int64_t y = top; y < top + rows; ++y, packed += columns * g.depth) {
        const int64_t line = (slice / depth.grid * depth.source + z) * height.source + y;
        if (z < 0 || z >= depth.source || y < 0 || y >= height.source)
          copy<T>(nullptr, 1, columns * g.depth, packed);
        else
          copy_row(g, static_cast<const T*>(g.source) + line * width.source * g.pixel_stride, left, columns,
                   packed);
      }
    }
}

// Whether the chunk is read where it lies: one tap that moves nothing, f32, and whole groups of pixels.
bool in_place(const TapGemm& g, const GridChunk& c) {
  for (const TapAxis& a : g.axes)
    if (a.taps != 1 || a.offset != 0 || a.source_step != 1 || a.source != a.grid) return false;
  return g.source_dtype == DType::f32 && g.depth_stride == 1 && c.columns % group == 0;
}

void pack_source(const TapGemm& g, const GridChunk& c, float* packed) {
  if (g.terms() == 0 || in_place(g, c)) return;
  if (g.source_dtype == DType::bf16) return pack_source_of<bf16>(g, c, packed);
  pack_source_of<float>(g, c, packed);
}

TW_INLINE V load_term(const View& view, int64_t at, int64_t count) {
  if (view.dtype == DType::bf16) {
    const bf16* from = static_cast<const bf16*>(view.pointer) + at;
    return count == lanes ? V::load(from) : V::load(from, count);
  }
  const float* from = static_cast<const float*>(view.pointer) + at;
  return count == lanes ? V::load(from) : V::load(from, count);
}

// Up to `group` neighbours of a row of the grid, the chunk's next ones in order.
struct Group {
  int64_t slice, row, column;
  int64_t pixels;
};

Group first_group(const GridChunk& c) { return {0, 0, 0, c.columns < group ? c.columns : group}; }

void advance(const GridChunk& c, Group& p) {
  p.column += group;
  if (p.column >= c.columns) {
    p.column = 0;
    if (++p.row == c.rows) p.row = 0, ++p.slice;
  }
  p.pixels = c.columns - p.column < group ? c.columns - p.column : group;
}

// y = alpha * sums + bias + temb + residual, for one group and the `count` channels from `channel`.
template <class T>
void finish(const TapGemm& g, const GridChunk& c, const Group& p, const float* sums, int64_t vectors,
            int64_t channel, int64_t count) {
  const TapAxis &depth = g.axes[0], &height = g.axes[1], &width = g.axes[2];
  const int64_t slice = c.slice + p.slice, sample = depth.grid == 1 ? slice : slice / depth.grid;
  const int64_t z = depth.out + (depth.grid == 1 ? 0 : slice % depth.grid) * depth.out_step;
  const int64_t y = height.out + (c.row + p.row) * height.out_step,
                x = width.out + (c.column + p.column) * width.out_step;
  int64_t at =
      (((sample * depth.output + z) * height.output + y) * width.output + x) * g.output_stride + channel;
  const int64_t next = width.out_step * g.output_stride;
  T* out = static_cast<T*>(g.output) + at;
  if (count == panel_channels && g.alpha == 1 && !g.temb && !g.residual) {
    V bias[panel_vectors];
#pragma GCC unroll 4
    for (int j = 0; j < panel_vectors; ++j)
      bias[j] = g.bias ? load_term(g.bias, channel + j * lanes, lanes) : V(0.0f);
    for (int64_t i = 0; i < p.pixels; ++i, out += next, sums += panel_channels)
#pragma GCC unroll 4
      for (int j = 0; j < panel_vectors; ++j) (V::load(sums + j * lanes) + bias[j]).store(out + j * lanes);
    return;
  }
  for (int64_t i = 0; i < p.pixels; ++i, at += next, out += next, sums += vectors * lanes)
    for (int64_t j = 0; j < count; j += lanes) {
      const int64_t n = count - j < lanes ? count - j : lanes;
      V value = V::load(sums + j);
      if (g.alpha != 1) value *= V(g.alpha);
      if (g.bias) value += load_term(g.bias, channel + j, n);
      if (g.temb) value += load_term(g.temb, sample * g.channels + channel + j, n);
      if (g.residual) value += load_term(g.residual, at + j, n);
      if (n == lanes)
        value.store(out + j);
      else
        value.store(out + j, n);
    }
}

// The last panel may be half as wide.
int64_t vectors_of(const TapGemm& g, int64_t panel) {
  return g.channels - panel * panel_channels <= lanes ? 1 : panel_vectors;
}

// Where the source of a chunk begins.
const char* in_memory(const TapGemm& g, const GridChunk& c) {
  const TapAxis &depth = g.axes[0], &height = g.axes[1], &width = g.axes[2];
  const int64_t y = c.row * height.source_step + height.offset,
                x = c.column * width.source_step + width.offset;
  const int64_t plane = c.slice / depth.grid * depth.source + c.slice % depth.grid * depth.source_step;
  const int64_t pixel = (plane * height.source + (y > 0 ? y : 0)) * width.source + (x > 0 ? x : 0);
  return static_cast<const char*>(g.source) +
         pixel * g.pixel_stride * (g.source_dtype == DType::bf16 ? 2 : 4);
}

void multiply_chunk(const TapGemm& g, const GridChunk& c, const GridChunk& following, const float* packed,
                    int64_t panel_begin, int64_t panel_end) {
  const TapAxis &depth = g.axes[0], &height = g.axes[1], &width = g.axes[2];
  const bool here = in_place(g, c);
  const int64_t pixel = here ? g.pixel_stride : g.depth;
  const int64_t line = (here ? width.source : packed_columns(g, c, group)) * pixel;
  const int64_t plane = (here ? height.source : packed_extent(height, c.rows)) * line;
  const float* begin = here ? reinterpret_cast<const float*>(in_memory(g, c)) : packed;
  Runs runs{height.taps, depth.taps, 1, height.offset_step * line, plane, 0, width.taps * g.depth};
  if (width.offset_step != 1 && width.taps > 1)
    runs.columns = width.taps, runs.column = width.offset_step * g.depth, runs.length = g.depth;
  const int64_t pitch = width.source_step * pixel;
  const int64_t groups = c.slices * c.rows * ((c.columns + group - 1) / group);
  const int64_t tiles = (groups + most_groups - 1) / most_groups;
  const int64_t panel_size = g.terms() * panel_channels;
  const char* source = in_memory(g, following);
  const int64_t source_floats = following.slices * depth.taps * packed_extent(height, following.rows) *
                                packed_extent(width, following.columns) * g.pixel_stride;
  const int64_t source_share = g.terms() == 0 ? 0 : source_floats * 4 / (tiles * (panel_end - panel_begin));
  float sums[most_groups * group * panel_channels];
  for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
    const int64_t vectors = vectors_of(g, panel), channel = panel * panel_channels;
    const int64_t wide = vectors * lanes, left = g.channels - channel, count = left < wide ? left : wide;
    const float* b = g.panels + panel * panel_size;
    // Tiles fetch, in turns, their shares of the next panel and of the next chunk's source.
    const int64_t panel_share = panel + 1 < panel_end ? panel_size * 4 / tiles : 0;
    const char* next_panel = reinterpret_cast<const char*>(b + panel_size);
    const char* next_source = source + source_share * tiles * (panel - panel_begin);
    Group in = first_group(c), out = in;
    for (int64_t tile = 0, done = 0; tile < tiles; ++tile) {
      // Tiles as equal as can be: 16 groups are 3 + 3 + 3 + 3 + 2 + 2.
      const int64_t size = (groups - done + (tiles - tile) - 1) / (tiles - tile);
      const float* at[most_groups];
      for (int64_t i = 0; i < size; ++i, advance(c, in))
        at[i] =
            begin + in.slice * depth.taps * plane + in.row * height.source_step * line + in.column * pitch;
      const bool turn = tile % 2 == 0;
      const int64_t share = turn ? panel_share : source_share;
      const Ahead ahead{(turn ? next_panel : next_source) + share * tile,
                        share ? share * 8 / g.terms() + 1 : 0};
      const bool stream = tile == 0 && tiles <= most_tiles_of_stream;
      const auto multiply_tile =
          vectors == 1
              ? (stream ? multiply_groups<1, true> : multiply_groups<1, false>)
              : (stream ? multiply_groups<panel_vectors, true> : multiply_groups<panel_vectors, false>);
      multiply_tile(size, at, pitch, runs, b, ahead, sums);
      for (int64_t i = 0; i < size; ++i, advance(c, out))
        if (g.output_dtype == DType::bf16)
          finish<bf16>(g, c, out, sums + i * group * wide, vectors, channel, count);
        else
          finish<float>(g, c, out, sums + i * group * wide, vectors, channel, count);
      done += size;
    }
  }
}

template <class T>
void pack_panels_of(const TapGemm& g, const PanelSource& w, float* panels, int64_t begin, int64_t end) {
  for (int64_t panel = begin; panel < end; ++panel) {
    const int64_t width = vectors_of(g, panel) * lanes, channel = panel * panel_channels;
    const int64_t count = g.channels - channel < width ? g.channels - channel : width;
    float* to = panels + panel * g.terms() * panel_channels;
    for (int64_t tap = 0; tap < g.taps(); ++tap, to += g.depth * width) {
      const int64_t flat = g.kernel_tap(tap);
      const T* from = static_cast<const T*>(w.data) + flat * w.tap_stride + channel * w.channel_stride;
      if (w.depth_stride == 1 && w.channel_stride != 1 && count == width) {
        TW_ISA::copy_transposed(from, w.channel_stride, count, g.depth, to, width);
      } else if (w.channel_stride == 1) {
        for (int64_t k = 0; k < g.depth; ++k) {
          for (int64_t j = 0; j < count; ++j)
            to[k * width + j] = static_cast<float>(from[k * w.depth_stride + j]);
          for (int64_t j = count; j < width; ++j) to[k * width + j] = 0;
        }
      } else {
        for (int64_t j = 0; j < width; ++j)
          for (int64_t k = 0; k < g.depth; ++k)
            to[k * width + j] =
                j < count ? static_cast<float>(from[k * w.depth_stride + j * w.channel_stride]) : 0.0f;
      }
    }
  }
}

void pack_panels(const TapGemm& g, const PanelSource& w, float* panels, int64_t begin, int64_t end) {
  if (w.dtype == DType::bf16) return pack_panels_of<bf16>(g, w, panels, begin, end);
  pack_panels_of<float>(g, w, panels, begin, end);
}

}  // namespace

template <>
const TapGemmKernels& kernels_of<TapGemmKernels, Isa::TW_ISA>() {
  static const TapGemmKernels kernels{group, panel_channels, pack_panels, pack_source, multiply_chunk};
  return kernels;
}

}  // namespace tw::kernels
