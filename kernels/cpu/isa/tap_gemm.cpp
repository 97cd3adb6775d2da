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
constexpr int cache_line = 64;

// The terms of a sum: `runs` stretches of `length` of them, run r of a pixel at pixel + r's offset.
struct Runs {
  int64_t rows, planes, columns;  // taps along each axis; along columns only if they are not one run
  int64_t row, plane, column;     // steps between them
  int64_t length;
  int64_t begin = 0;  // floats from the pixel to the first one
};

// Memory that will be read next, fetched a little at every step.
struct Ahead {
  const char* at;
  int64_t step;
};

// Where the sums of whole groups of pixels and of a whole panel go from their registers: y = sums + bias +
// residual.
struct Target {
  float* at[most_groups];              // the first pixel of each group
  const float* residual[most_groups];  // null: none
  const float* bias;                   // null: none
  int64_t next;                        // floats between pixels, of the residual too
};

// With few tiles a panel, memory limits: then it is taken in pieces that stay in the L1 cache until every
// tile has run over them, and each term fetches what is read this many floats later.
constexpr int64_t most_tiles_of_stream = 8;
constexpr int64_t terms_of_piece = 96;
constexpr int64_t stream_distance = 2 * terms_of_piece * panel_channels;

// A tile of so many terms takes long enough for the lines that it will write to come from memory meanwhile;
// with three channels, 27 terms, fetching them made it 8 % slower.
constexpr int64_t least_terms_to_fetch_output = 128;

TW_INLINE void fetch_output(const float* first, int64_t next, int64_t count) {
#pragma GCC unroll 4
  for (int p = 0; p < group; ++p)
    for (int64_t j = 0; j < count; j += 16) __builtin_prefetch(first + p * next + j, 1);
}

// Sums over the runs, on top of c unless these are the `first`, to `target` or, if that is null, to c(G *
// group, NV); the pixels of group i at at[i] + j * pitch, b as [term][NV], which comes from memory if
// `stream`.
template <int G, int NV, bool stream>
[[gnu::noinline]] void multiply(const float* const* at, int64_t pitch, const Runs& runs, const float* b,
                                Ahead ahead, bool first, const Target* target, float* c) {
  int64_t steps[group];
#pragma GCC unroll 4
  for (int p = 0; p < group; ++p) steps[p] = p * pitch;
  typename V::Native sums[G * group][NV];
#pragma GCC unroll 16
  for (int i = 0; i < G * group; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j)
      sums[i][j] = !stream || first ? V(0.0f).native : V::load(c + (i * NV + j) * lanes).native;
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
    if constexpr (stream) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) __builtin_prefetch(ahead.at + j * cache_line, 0, 2);
      ahead.at += ahead.step;
    }
    b += NV * lanes;
  };
  for (int64_t plane = 0; plane < runs.planes; ++plane)
    for (int64_t row = 0; row < runs.rows; ++row)
      for (int64_t column = 0; column < runs.columns; ++column) {
        const int64_t offset = runs.begin + plane * runs.plane + row * runs.row + column * runs.column;
        const float* x[G];
#pragma GCC unroll 4
        for (int i = 0; i < G; ++i) x[i] = at[i] + offset;
        int64_t k = runs.length;
        for (; k >= 4; k -= 4) {
          if constexpr (!stream) {
            __builtin_prefetch(ahead.at, 0, 2);
            ahead.at += ahead.step;
          }
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
  if (!target) {
#pragma GCC unroll 16
    for (int i = 0; i < G * group; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) V(sums[i][j]).store(c + (i * NV + j) * lanes);
    return;
  }
  if (target->bias)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      const typename V::Native bias = V::load(target->bias + j * lanes).native;
#pragma GCC unroll 16
      for (int i = 0; i < G * group; ++i) sums[i][j] += bias;
    }
  if (target->residual[0])
#pragma GCC unroll 4
    for (int i = 0; i < G; ++i)
#pragma GCC unroll 4
      for (int p = 0; p < group; ++p)
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j)
          sums[i * group + p][j] += V::load(target->residual[i] + p * target->next + j * lanes).native;
#pragma GCC unroll 4
  for (int i = 0; i < G; ++i)
#pragma GCC unroll 4
    for (int p = 0; p < group; ++p)
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j)
        V(sums[i * group + p][j]).store(target->at[i] + p * target->next + j * lanes);
}

template <int NV, bool stream>
void multiply_groups(int64_t groups, const float* const* at, int64_t pitch, const Runs& runs, const float* b,
                     const Ahead& ahead, bool first, const Target* target, float* c) {
  if (groups == 3) return multiply<3, NV, stream>(at, pitch, runs, b, ahead, first, target, c);
  if (groups == 2) return multiply<2, NV, stream>(at, pitch, runs, b, ahead, first, target, c);
  multiply<1, NV, stream>(at, pitch, runs, b, ahead, first, target, c);
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

// Floats between neighbours of the packed source, or of the source where that is read in place.
struct SourceSteps {
  const float* begin;
  int64_t pixel, line, plane;
};

// Up to `group` neighbours of a row of the grid.
struct Group {
  int64_t pixels, sample;
  const float* source;  // the first term of the first pixel
  int64_t output;       // elements of the output before the first pixel
};

// The groups of a chunk in their order.
class Groups {
 public:
  Groups(const TapGemm& product, const GridChunk& chunk, const SourceSteps& source)
      : g(product), c(chunk), source_(source) {
    begin_row();
  }

  TW_INLINE void next(Group& p) {
    const int64_t left = c.columns - column_;
    p.pixels = left < group ? left : group;
    p.sample = sample_;
    p.source = row_source_ + column_ * g.axes[2].source_step * source_.pixel;
    p.output = row_output_ + column_ * g.axes[2].out_step * g.output_stride;
    column_ += group;
    if (column_ >= c.columns) {
      column_ = 0;
      if (++row_ == c.rows) row_ = 0, ++slice_;
      begin_row();
    }
  }

 private:
  void begin_row() {
    const TapAxis &depth = g.axes[0], &height = g.axes[1], &width = g.axes[2];
    const int64_t slice = c.slice + slice_;
    sample_ = depth.grid == 1 ? slice : slice / depth.grid;
    const int64_t z = depth.out + (slice - sample_ * depth.grid) * depth.out_step;
    const int64_t y = height.out + (c.row + row_) * height.out_step,
                  x = width.out + c.column * width.out_step;
    row_source_ =
        source_.begin + slice_ * depth.taps * source_.plane + row_ * height.source_step * source_.line;
    row_output_ = (((sample_ * depth.output + z) * height.output + y) * width.output + x) * g.output_stride;
  }

  const TapGemm& g;
  const GridChunk& c;
  const SourceSteps source_;
  int64_t slice_ = 0, row_ = 0, column_ = 0;
  int64_t sample_ = 0, row_output_ = 0;
  const float* row_source_ = nullptr;
};

// y = alpha * sums + bias + temb + residual, for one group and the `count` channels from `channel`.
template <class T>
void finish(const TapGemm& g, const Group& p, const float* sums, int64_t vectors, int64_t channel,
            int64_t count) {
  const int64_t next = g.axes[2].out_step * g.output_stride;
  int64_t at = p.output + channel;
  T* out = static_cast<T*>(g.output) + at;
  for (int64_t i = 0; i < p.pixels; ++i, at += next, out += next, sums += vectors * lanes)
    for (int64_t j = 0; j < count; j += lanes) {
      const int64_t n = count - j < lanes ? count - j : lanes;
      V value = V::load(sums + j);
      if (g.alpha != 1) value *= V(g.alpha);
      if (g.bias) value += load_term(g.bias, channel + j, n);
      if (g.temb) value += load_term(g.temb, p.sample * g.channels + channel + j, n);
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

// How the packed source, or the source itself, is read.
SourceSteps source_steps(const TapGemm& g, const GridChunk& c, const float* packed) {
  const bool here = in_place(g, c);
  SourceSteps s;
  s.begin = here ? reinterpret_cast<const float*>(in_memory(g, c)) : packed;
  s.pixel = here ? g.pixel_stride : g.depth;
  s.line = (here ? g.axes[2].source : packed_columns(g, c, group)) * s.pixel;
  s.plane = (here ? g.axes[1].source : packed_extent(g.axes[1], c.rows)) * s.line;
  return s;
}

Runs runs_of(const TapGemm& g, const SourceSteps& s) {
  const TapAxis &depth = g.axes[0], &height = g.axes[1], &width = g.axes[2];
  Runs runs{height.taps, depth.taps, 1, height.offset_step * s.line, s.plane, 0, width.taps * g.depth};
  if (width.offset_step != 1 && width.taps > 1)
    runs.columns = width.taps, runs.column = width.offset_step * g.depth, runs.length = g.depth;
  return runs;
}

// Whether sums can go to the output from their registers.
bool has_target(const TapGemm& g) {
  return g.output_dtype == DType::f32 && g.alpha == 1 && !g.temb && (!g.bias || g.bias.dtype == DType::f32) &&
         (!g.residual || g.residual.dtype == DType::f32);
}

// A panel: its channels [channel, channel + count), computed as `vectors` vectors.
struct Panel {
  const float* weights;
  int64_t vectors, channel, count;
};

// Up to most_groups groups that are multiplied at once.
struct Tile {
  int64_t size;
  Group groups[most_groups];
  const float* at[most_groups];
  bool targeted;  // its sums go to `target`
  Target target;
};

// The next `size` groups; in place, because copying what was just written would wait for it.
TW_INLINE void set_tile(const TapGemm& g, const Panel& panel, bool targeted, int64_t size, Groups& walk,
                        Tile& t) {
  t.size = size;
  t.targeted = targeted && panel.count == panel.vectors * lanes;
  t.target.next = g.axes[2].out_step * g.output_stride;
  t.target.bias = targeted && g.bias ? static_cast<const float*>(g.bias.pointer) + panel.channel : nullptr;
  t.target.residual[0] = nullptr;
  for (int64_t i = 0; i < size; ++i) {
    walk.next(t.groups[i]);
    t.at[i] = t.groups[i].source;
    t.targeted = t.targeted && t.groups[i].pixels == group;
    if (!t.targeted) continue;
    const int64_t to = t.groups[i].output + panel.channel;
    t.target.at[i] = static_cast<float*>(g.output) + to;
    if (g.residual) t.target.residual[i] = static_cast<const float*>(g.residual.pointer) + to;
  }
}

// Adds terms of a tile, from `term` of the panel on; after the last ones the tile is finished.
template <bool stream>
TW_INLINE void multiply_tile(const TapGemm& g, const Tile& t, int64_t pitch, const Runs& runs,
                             const Panel& panel, int64_t term, bool last, const Ahead& ahead, float* sums) {
  const int64_t wide = panel.vectors * lanes;
  if (t.targeted && last && g.terms() >= least_terms_to_fetch_output)
    for (int64_t i = 0; i < t.size; ++i) fetch_output(t.target.at[i], t.target.next, wide);
  const auto multiply_tile_groups =
      panel.vectors == 1 ? multiply_groups<1, stream> : multiply_groups<panel_vectors, stream>;
  multiply_tile_groups(t.size, t.at, pitch, runs, panel.weights + term * wide, ahead, term == 0,
                       t.targeted && last ? &t.target : nullptr, sums);
  for (int64_t i = 0; i < t.size && last && !t.targeted; ++i)
    if (g.output_dtype == DType::bf16)
      finish<bf16>(g, t.groups[i], sums + i * group * wide, panel.vectors, panel.channel, panel.count);
    else
      finish<float>(g, t.groups[i], sums + i * group * wide, panel.vectors, panel.channel, panel.count);
}

// run(part, term, last) for stretches of at most terms_of_piece terms, in their order.
template <class Run>
void for_pieces(const Runs& runs, int64_t terms, const Run& run) {
  int64_t term = 0;
  for (int64_t plane = 0; plane < runs.planes; ++plane)
    for (int64_t row = 0; row < runs.rows; ++row)
      for (int64_t column = 0; column < runs.columns; ++column)
        for (int64_t k = 0; k < runs.length; k += terms_of_piece) {
          const int64_t left = runs.length - k, length = left < terms_of_piece ? left : terms_of_piece;
          const int64_t begin = plane * runs.plane + row * runs.row + column * runs.column + k;
          run(Runs{1, 1, 1, 0, 0, 0, length, begin}, term, term + length == terms);
          term += length;
        }
}

constexpr int64_t tile_floats = most_groups * group * panel_channels;

void multiply_chunk(const TapGemm& g, const GridChunk& c, const GridChunk& following, const float* packed,
                    int64_t panel_begin, int64_t panel_end) {
  const SourceSteps from = source_steps(g, c, packed);
  const Runs runs = runs_of(g, from);
  const int64_t pitch = g.axes[2].source_step * from.pixel, terms = g.terms();
  const int64_t groups = c.slices * c.rows * ((c.columns + group - 1) / group);
  const int64_t tiles = (groups + most_groups - 1) / most_groups;
  const int64_t panel_size = terms * panel_channels;
  const char* source = in_memory(g, following);
  const int64_t source_floats = following.slices * g.axes[0].taps * packed_extent(g.axes[1], following.rows) *
                                packed_extent(g.axes[2], following.columns) * g.pixel_stride;
  const int64_t source_share = terms == 0 ? 0 : source_floats * 4 / (tiles * (panel_end - panel_begin));
  const auto step_of = [&](int64_t share) { return share ? share * 8 / terms + 1 : 0; };
  const int64_t source_step = step_of(source_share);
  const bool targeted = has_target(g), once = c.slices * c.rows * c.columns == g.rows();
  const bool stream = once && tiles <= most_tiles_of_stream && terms > terms_of_piece;
  Tile all[most_tiles_of_stream];
  float sums[most_tiles_of_stream * tile_floats];
  for (int64_t index = panel_begin; index < panel_end; ++index) {
    const int64_t vectors = vectors_of(g, index), channel = index * panel_channels;
    const int64_t wide = vectors * lanes, left = g.channels - channel;
    const Panel panel{g.panels + index * panel_size, vectors, channel, left < wide ? left : wide};
    Groups walk(g, c, from);
    // Tiles as equal as can be: 16 groups are 3 + 3 + 3 + 3 + 2 + 2.
    const auto size_of = [&](int64_t tile, int64_t done) {
      return (groups - done + (tiles - tile) - 1) / (tiles - tile);
    };
    if (stream) {
      for (int64_t tile = 0, done = 0; tile < tiles; done += all[tile++].size)
        set_tile(g, panel, targeted, size_of(tile, done), walk, all[tile]);
      const int64_t line_step = wide * 4 / tiles;
      for_pieces(runs, terms, [&](const Runs& part, int64_t term, bool last) {
        const char* ahead = reinterpret_cast<const char*>(panel.weights + term * wide + stream_distance);
        for (int64_t tile = 0; tile < tiles; ++tile)
          multiply_tile<true>(g, all[tile], pitch, part, panel, term, last,
                              {ahead + tile * line_step * part.length, line_step}, sums + tile * tile_floats);
      });
      continue;
    }
    // Tiles fetch, in turns, their shares of the next panel and of the next chunk's source.
    const int64_t panel_share = index + 1 < panel_end ? panel_size * 4 / tiles : 0;
    const int64_t panel_step = step_of(panel_share);
    const char* next_panel = reinterpret_cast<const char*>(panel.weights + panel_size);
    const char* next_source = source + source_share * tiles * (index - panel_begin);
    for (int64_t tile = 0, done = 0; tile < tiles; ++tile) {
      set_tile(g, panel, targeted, size_of(tile, done), walk, all[0]);
      done += all[0].size;
      multiply_tile<false>(g, all[0], pitch, runs, panel, 0, true,
                           tile % 2 == 0 ? Ahead{next_panel + panel_share * tile, panel_step}
                                         : Ahead{next_source + source_share * tile, source_step},
                           sums);
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
