// Algorithm: a tile (tap, MR channels i, NR channels j) of the gradient runs over the pixels of a chunk with
// its MR x NR sums in registers and is added to the result once a chunk, so that the order of the additions
// depends on the shape alone. A tap that leaves the source shortens the rows; no zero is multiplied. Both
// operands are copied to blocks of a tile's channels first: read in place, pixels 1 KiB or more apart would
// share a few sets of the L1 cache (126 GFLOP/s against 144 for a 1x1 product of 512 by 256 channels).
#include "kernels/cpu/isa/tap_outer.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/vec.h"

namespace tw::kernels {
namespace {

using TW_ISA::Vec;
using V = Vec<float>;
constexpr int lanes = V::lanes;
// 12 x 2 registers of sums out of 32 (AVX-512), 6 x 2 out of 16.
constexpr int tile_rows = TW_VECTOR_BYTES == 64 ? 12 : 6;
constexpr int row_unit = tile_rows / 3;
constexpr int tile_vectors = 2;
constexpr int tile_columns = tile_vectors * lanes;

struct Operand {
  const float* at;
  int64_t slice, row, pixel;  // steps, in floats
};

// Where the sums of a tile go.
struct Target {
  float* at;
  int64_t stride, rows, columns;
  bool first;
};

// What the next chunk reads, fetched a little at every pixel: strided reads of new lines would wait for each.
struct Ahead {
  const char* at;
  int64_t step;  // bytes a pixel
};

template <int MR, int NV>
[[gnu::noinline]] void outer(Operand a, Operand b, int64_t slices, int64_t rows, int64_t columns, Target to,
                             Ahead ahead) {
  for (int i = 0; i < MR && i < to.rows; ++i)
    for (int j = 0; j < NV; ++j) __builtin_prefetch(to.at + i * to.stride + j * lanes, 1);
  typename V::Native sums[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) sums[i][j] = V(0.0f).native;
  for (int64_t s = 0; s < slices; ++s)
    for (int64_t r = 0; r < rows; ++r) {
      const float* x = a.at + s * a.slice + r * a.row;
      const float* y = b.at + s * b.slice + r * b.row;
      for (int64_t p = 0; p < columns; ++p) {
        typename V::Native right[NV];
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) right[j] = V::load(y + j * lanes).native;
        __builtin_prefetch(y + 8 * NV * lanes);
        if (NV * lanes > 16) __builtin_prefetch(y + 8 * NV * lanes + 16);
        __builtin_prefetch(ahead.at, 0, 2);
        ahead.at += ahead.step;
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i) {
          const typename V::Native left = V(x[i]).native;
#pragma GCC unroll 4
          for (int j = 0; j < NV; ++j) sums[i][j] = left * right[j] + sums[i][j];
        }
        x += a.pixel;
        y += b.pixel;
      }
    }
  if (to.rows >= MR && to.columns >= NV * lanes) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) {
        float* at = to.at + i * to.stride + j * lanes;
        (to.first ? V(sums[i][j]) : V::load(at) + V(sums[i][j])).store(at);
      }
    return;
  }
  float tile[MR * NV * lanes];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) V(sums[i][j]).store(tile + (i * NV + j) * lanes);
  for (int64_t i = 0; i < MR && i < to.rows; ++i)
    for (int64_t j = 0; j < NV * lanes && j < to.columns; ++j) {
      float& at = to.at[i * to.stride + j];
      at = to.first ? tile[i * NV * lanes + j] : at + tile[i * NV * lanes + j];
    }
}

template <int NV>
void outer_of(int64_t height, const Operand& a, const Operand& b, int64_t slices, int64_t rows,
              int64_t columns, const Target& to, const Ahead& ahead) {
  if (height == tile_rows) return outer<tile_rows, NV>(a, b, slices, rows, columns, to, ahead);
  if (height == 2 * row_unit) return outer<2 * row_unit, NV>(a, b, slices, rows, columns, to, ahead);
  outer<row_unit, NV>(a, b, slices, rows, columns, to, ahead);
}

// The channels of one block of one operand.
struct Channels {
  int64_t begin, width;
};

Channels row_block(const RowBlocks& blocks, int64_t block) {
  return {blocks.begin(block), blocks.begin(block + 1) - blocks.begin(block)};
}

// The last panel may be half as wide.
Channels column_panel(const TapOuter& g, int64_t panel) {
  const int64_t left = g.column_channels() - panel * tile_columns;
  return {panel * tile_columns, left <= lanes ? lanes : tile_columns};
}

// Blocks [begin, end) of one operand, each `pixels` pixels.
struct Copy {
  const TapOuter& g;
  RowBlocks blocks;
  bool rows;
  int64_t begin, end, pixels;
  float* to;

  Channels block(int64_t index) const { return rows ? row_block(blocks, index) : column_panel(g, index); }
};

// `count` pixels to pixel `at` of the blocks, a few at a time so that the source is read in its order; `from`
// null gives zeros. A store may run over into the next pixel, which is written later.
template <class T>
TW_INLINE void copy_pixels(const Copy& copy, const T* from, int64_t channels, int64_t at, int64_t count) {
  constexpr int64_t strip = 8;
  for (int64_t first = 0; first < count; first += strip) {
    const int64_t last = first + strip < count ? first + strip : count;
    float* block_to = copy.to;
    for (int64_t index = copy.begin; index < copy.end; ++index) {
      const Channels block = copy.block(index);
      const int64_t have = channels - block.begin < block.width ? channels - block.begin : block.width;
      float* to = block_to + (at + first) * block.width;
      block_to += copy.pixels * block.width;
      for (int64_t p = first; p < last; ++p, to += block.width) {
        const T* pixel = from ? from + p * channels + block.begin : nullptr;
        int64_t j = 0;
        if (pixel && p + 1 < count && block.begin + (block.width + lanes - 1) / lanes * lanes <= channels) {
          for (; j < block.width; j += lanes) V::load(pixel + j).store(to + j);
          continue;
        }
        if (pixel)
          for (; j + lanes <= have; j += lanes) V::load(pixel + j).store(to + j);
        for (; j < block.width; ++j) to[j] = pixel && j < have ? static_cast<float>(pixel[j]) : 0.0f;
      }
    }
  }
}

template <class T>
void copy_gathered(const Copy& copy, const GridChunk& c) {
  const TapOuter& g = copy.g;
  const SourceBox box = source_box(g, c);
  const TapAxis& depth = g.axes[0];
  int64_t at = 0;
  for (int64_t plane = 0; plane < box.planes; ++plane) {
    const int64_t slice = c.slice + plane / depth.taps, tap = plane % depth.taps;
    const int64_t z = slice % depth.grid * depth.source_step + depth.offset + tap * depth.offset_step;
    const bool within = z >= 0 && z < depth.source;
    for (int64_t row = 0; row < box.rows; ++row, at += box.columns) {
      const int64_t pixel =
          ((slice / depth.grid * depth.source + z) * g.axes[1].source + box.row + row) * g.axes[2].source +
          box.column;
      copy_pixels<T>(copy, within ? static_cast<const T*>(g.gathered) + pixel * g.gathered_channels : nullptr,
                     g.gathered_channels, at, box.columns);
    }
  }
}

template <class T>
void copy_dense(const Copy& copy, const GridChunk& c) {
  const TapOuter& g = copy.g;
  const int64_t pixel = (c.slice * g.axes[1].grid + c.row) * g.axes[2].grid + c.column;
  copy_pixels<T>(copy, static_cast<const T*>(g.dense) + pixel * g.dense_channels, g.dense_channels, 0,
                 copy.pixels);
}

void pack(const TapOuter& g, const GridChunk& c, bool rows, int64_t begin, int64_t end, float* packed) {
  const bool dense = rows == g.dense_rows;
  const Copy copy{g,     row_blocks(g, tile_rows, row_unit),
                  rows,  begin,
                  end,   dense ? c.slices * c.rows * c.columns : source_box(g, c).pixels(),
                  packed};
  if (dense)
    g.dense_dtype == DType::bf16 ? copy_dense<bf16>(copy, c) : copy_dense<float>(copy, c);
  else
    g.gathered_dtype == DType::bf16 ? copy_gathered<bf16>(copy, c) : copy_gathered<float>(copy, c);
}

// A pixel's channels at every tap, then zeros up to a whole row unit: [pixel][tap][channel].
template <class T>
void pack_folded(const TapOuter& g, const GridChunk& c, float* packed) {
  const TapAxis &depth = g.axes[0], &height = g.axes[1], &width = g.axes[2];
  const int64_t channels = g.gathered_channels, taps = g.taps();
  const int64_t step = (taps * channels + row_unit - 1) / row_unit * row_unit;
  for (int64_t line = 0; line < c.slices * c.rows; ++line, packed += c.columns * step) {
    const int64_t slice = c.slice + line / c.rows, row = c.row + line % c.rows;
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int64_t td = tap / (width.taps * height.taps), th = tap / width.taps % height.taps,
                    tw = tap % width.taps;
      const int64_t z = slice % depth.grid * depth.source_step + depth.offset + td * depth.offset_step;
      const int64_t y = row * height.source_step + height.offset + th * height.offset_step;
      const Span q = inside(width, tw, c.column, c.column + c.columns);
      const bool within = z >= 0 && z < depth.source && y >= 0 && y < height.source;
      const int64_t first = within ? q.begin - c.column : c.columns,
                    last = within ? q.end - c.column : c.columns;
      const T* from = static_cast<const T*>(g.gathered);
      if (within)
        from += (((slice / depth.grid * depth.source + z) * height.source + y) * width.source +
                 (c.column + first) * width.source_step + width.offset + tw * width.offset_step) *
                channels;
      float* to = packed + tap * channels;
      // One store of four: what runs over belongs to the next tap, which comes later, or to the padding.
      const bool four = std::is_same_v<T, float> && channels == 3 && (tap + 1) * channels < step;
      const int64_t jump = width.source_step * channels;
      int64_t p = 0;
      for (; p < first; ++p, to += step)
        for (int64_t i = 0; i < channels; ++i) to[i] = 0;
      if (four)
        for (; p + 1 < last; ++p, to += step, from += jump) std::memcpy(to, from, 4 * sizeof(float));
      for (; p < last; ++p, to += step, from += jump)
        for (int64_t i = 0; i < channels; ++i) to[i] = static_cast<float>(from[i]);
      for (; p < c.columns; ++p, to += step)
        for (int64_t i = 0; i < channels; ++i) to[i] = 0;
    }
    for (int64_t p = 0; p < c.columns; ++p)
      for (int64_t i = taps * channels; i < step; ++i) packed[p * step + i] = 0;
  }
}

void pack_rows(const TapOuter& g, const GridChunk& c, int64_t begin, int64_t end, float* packed) {
  if (!g.folded()) return pack(g, c, true, begin, end, packed);
  g.gathered_dtype == DType::bf16 ? pack_folded<bf16>(g, c, packed) : pack_folded<float>(g, c, packed);
}

void pack_columns(const TapOuter& g, const GridChunk& c, int64_t begin, int64_t end, float* packed) {
  pack(g, c, false, begin, end, packed);
}

// sum(j) (+)= the panel's pixels, every fourth in one sum.
void add_columns(const float* panel, int64_t width, int64_t pixels, float* sum, int64_t count, bool first) {
  for (int64_t j = 0; j < width && j < count; j += lanes) {
    V total[4] = {V(0.0f), V(0.0f), V(0.0f), V(0.0f)};
    int64_t p = 0;
    for (; p + 4 <= pixels; p += 4)
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) total[i] += V::load(panel + (p + i) * width + j);
    for (; p < pixels; ++p) total[0] += V::load(panel + p * width + j);
    const V all = (total[0] + total[1]) + (total[2] + total[3]);
    const int64_t n = count - j < lanes ? count - j : lanes;
    (first ? all : V::load(sum + j, n) + all).store(sum + j, n);
  }
}

// Where an operand's part of a chunk begins.
const char* in_memory(const TapOuter& g, const GridChunk& c, bool dense) {
  const SourceBox box = source_box(g, c);
  const int64_t pixel =
      dense ? (c.slice * g.axes[1].grid + c.row) * g.axes[2].grid + c.column
            : (c.slice / g.axes[0].grid * g.axes[0].source * g.axes[1].source + box.row) * g.axes[2].source +
                  box.column;
  const int64_t channels = dense ? g.dense_channels : g.gathered_channels;
  const int64_t size = (dense ? g.dense_dtype : g.gathered_dtype) == DType::bf16 ? 2 : 4;
  return static_cast<const char*>(dense ? g.dense : g.gathered) + pixel * channels * size;
}

void multiply(const TapOuter& g, const GridChunk& c, const GridChunk& next, const float* rows,
              const float* columns, int64_t begin, int64_t end, bool first) {
  const TapAxis &depth = g.axes[0], &height = g.axes[1], &width = g.axes[2];
  const SourceBox box = source_box(g, c);
  const RowBlocks blocks = row_blocks(g, tile_rows, row_unit);
  const int64_t taps = g.tile_taps(), pixels = c.slices * c.rows * c.columns;
  const int64_t row_pixels = g.dense_rows ? pixels : box.pixels(),
                column_pixels = g.dense_rows ? box.pixels() : pixels;
  const int64_t first_panel = begin / (taps * blocks.count);
  const int64_t last_panel = (end - 1) / (taps * blocks.count);
  const int64_t first_block = first_panel == last_panel ? begin / taps % blocks.count : 0;
  const bool folded = g.folded();
  const int64_t folded_step = blocks.begin(blocks.count);
  // The tiles fetch the next chunk's two operands, one after the other.
  const char* gathered_next = in_memory(g, next, false);
  const char* dense_next = in_memory(g, next, true);
  const int64_t gathered_bytes = box.pixels() * g.gathered_channels * 4,
                dense_bytes = pixels * g.dense_channels * 4;
  const int64_t share = (gathered_bytes + dense_bytes) / (end - begin);
  for (int64_t index = begin; index < end; ++index) {
    const int64_t fetched = share * (index - begin);
    const Ahead ahead{
        fetched < gathered_bytes ? gathered_next + fetched : dense_next + (fetched - gathered_bytes),
        (share + pixels - 1) / pixels};
    const int64_t tap = index % taps, block = index / taps % blocks.count,
                  panel = index / (taps * blocks.count);
    const Channels i = row_block(blocks, block), j = column_panel(g, panel);
    const int64_t td = tap / (width.taps * height.taps), th = tap / width.taps % height.taps,
                  tw = tap % width.taps;
    const Span all_rows{c.row, c.row + c.rows}, all_columns{c.column, c.column + c.columns};
    const Span r = folded ? all_rows : inside(height, th, c.row, c.row + c.rows),
               q = folded ? all_columns : inside(width, tw, c.column, c.column + c.columns);

    // The pixel where the tile begins on either side, and the steps between planes, rows and pixels.
    const int64_t dense_at = (r.begin - c.row) * c.columns + q.begin - c.column;
    const int64_t y = r.begin * height.source_step + height.offset + th * height.offset_step;
    const int64_t x = q.begin * width.source_step + width.offset + tw * width.offset_step;
    const int64_t gathered_at = (td * box.rows + y - box.row) * box.columns + x - box.column;
    const Operand dense{nullptr, c.rows * c.columns, c.columns, 1};
    const Operand gathered{nullptr, depth.taps * box.rows * box.columns, height.source_step * box.columns,
                           width.source_step};
    Operand a = g.dense_rows ? dense : gathered, b = g.dense_rows ? gathered : dense;
    if (folded) {
      a = dense;
      a.at = rows + i.begin;
      a.slice *= folded_step, a.row *= folded_step, a.pixel *= folded_step;
    } else {
      a.at = rows + (i.begin - blocks.begin(first_block)) * row_pixels +
             (g.dense_rows ? dense_at : gathered_at) * i.width;
      a.slice *= i.width, a.row *= i.width, a.pixel *= i.width;
    }
    const float* panel_at = columns + (panel - first_panel) * tile_columns * column_pixels;
    b.at = panel_at + (g.dense_rows ? gathered_at : dense_at) * j.width;
    b.slice *= j.width, b.row *= j.width, b.pixel *= j.width;

    const Target to{g.gradient + (tap * g.row_channels() + i.begin) * g.column_channels() + j.begin,
                    g.column_channels(), g.row_channels() - i.begin, g.column_channels() - j.begin, first};
    const int64_t high = r.end - r.begin, wide = q.end - q.begin;
    const int64_t slices = high && wide ? c.slices : 0;
    if (j.width == lanes)
      outer_of<1>(i.width, a, b, slices, high, wide, to, ahead);
    else
      outer_of<tile_vectors>(i.width, a, b, slices, high, wide, to, ahead);
    if (g.dense_sum && tap == 0 && block == 0)
      add_columns(panel_at, j.width, pixels, g.dense_sum + j.begin, to.columns, first);
  }
}

}  // namespace

template <>
const TapOuterKernels& kernels_of<TapOuterKernels, Isa::TW_ISA>() {
  static const TapOuterKernels kernels{tile_rows, tile_columns, row_unit, pack_rows, pack_columns, multiply};
  return kernels;
}

}  // namespace tw::kernels
