// Algorithm: tiles of 32 positions by 32 channels. With tiles: 2 x 2 accumulators of 16 x 16, each step of 32
// k's loads four operand tiles for four products, 16 cycles each. Depth blocks run outside of the taps: the
// nine taps of a block read the same cache lines. Measured on a Sapphire-Rapids-class core: 2.5 TFLOP/s with
// both operands in the L2 cache, 3.0 from registers, against 0.2 for f32 FMA.
#include "kernels/cpu/isa/tap_gemm_bf16.h"

#include "kernels/cpu/isa/dot_block.h"

namespace tw::kernels {
namespace {

using namespace TW_ISA;  // Vec, and blocks of products
using V = Vec<float>;
TW_INLINE V load_term(const View& view, int64_t at, int64_t count) {
  if (view.dtype == DType::bf16) {
    const bf16* from = static_cast<const bf16*>(view.pointer) + at;
    return count == V::lanes ? V::load(from) : V::load(from, count);
  }
  const float* from = static_cast<const float*>(view.pointer) + at;
  return count == V::lanes ? V::load(from) : V::load(from, count);
}

// Adds the terms to `rows` rows of 32 sums, rounds, and writes those that are pixels.
void finish(const TapGemm& g, const FlatGrid& flat, int64_t position, int64_t rows, const float* sums,
            int64_t channel) {
  const int64_t count = g.channels - channel < dot_channels ? g.channels - channel : dot_channels;
  while (rows > 0) {
    const FlatPlace p = place_of(flat, position);
    const int64_t line = flat.pitch[1];
    // The rest of the line, of which the first `pixels` are on the grid.
    int64_t run = line - p.at[2] < rows ? line - p.at[2] : rows;
    int64_t pixels = g.axes[2].grid - p.at[2] < run ? g.axes[2].grid - p.at[2] : run;
    if (p.at[0] >= g.axes[0].grid || p.at[1] >= g.axes[1].grid) pixels = 0;
    int64_t pixel = p.sample;
    for (int axis = 0; axis < 3; ++axis) {
      const TapAxis& a = g.axes[axis];
      pixel = pixel * a.output + a.out + p.at[axis] * a.out_step;
    }
    for (int64_t i = 0; i < pixels; ++i, pixel += g.axes[2].out_step) {
      bf16* out = static_cast<bf16*>(g.output) + pixel * g.output_stride + channel;
      for (int64_t j = 0; j < count; j += V::lanes) {
        const int64_t n = count - j < V::lanes ? count - j : V::lanes;
        V y = V::load(sums + i * dot_channels + j);
        if (g.alpha != 1) y *= V(g.alpha);
        if (g.bias) y += load_term(g.bias, channel + j, n);
        if (g.temb) y += load_term(g.temb, p.sample * g.channels + channel + j, n);
        if (g.residual) y += load_term(g.residual, pixel * g.output_stride + channel + j, n);
        if (n == V::lanes)
          y.store(out + j);
        else
          y.store(out + j, n);
      }
    }
    position += run;
    sums += run * dot_channels;
    rows -= run;
  }
}

void multiply(const TapGemm& g, const FlatGrid& flat, const FlatSource& source, int64_t first, int64_t count,
              const uint16_t* panels, int64_t begin, int64_t end) {
  const int64_t taps = g.taps();
  const Tiles tiles;
  alignas(64) float sums[block_positions * dot_channels];
  for (int64_t panel = begin; panel < end; ++panel)
    for (int64_t at = 0; at < count; at += block_positions) {
      const int64_t rows = count - at < block_positions ? count - at : block_positions;
      tiles.multiply(source, source.from + at * source.position_stride,
                     panels + panel * flat.depth_blocks * taps * step, flat.depth_blocks, taps, rows, sums);
      finish(g, flat, first + at, rows, sums, panel * dot_channels);
    }
}

template <class T>
void pack_panels_of(const TapGemm& g, const PanelSource& w, uint16_t* panels, int64_t begin, int64_t end) {
  const int64_t blocks = (g.depth + dot_depth - 1) / dot_depth, taps = g.taps();
  uint16_t* to = panels + begin * blocks * taps * step;
  for (int64_t panel = begin; panel < end; ++panel)
    for (int64_t block = 0; block < blocks; ++block)
      for (int64_t tap = 0; tap < taps; ++tap, to += step) {
        const int64_t flat = g.kernel_tap(tap);
        const int64_t k0 = block * dot_depth, j0 = panel * dot_channels;
        const int64_t depth = g.depth - k0 < dot_depth ? g.depth - k0 : dot_depth;
        const int64_t channels = g.channels - j0 < dot_channels ? g.channels - j0 : dot_channels;
        const T* from =
            static_cast<const T*>(w.data) + flat * w.tap_stride + k0 * w.depth_stride + j0 * w.channel_stride;
        pack_step(from, w.depth_stride, w.channel_stride, depth, channels, to);
      }
}

void pack_panels(const TapGemm& g, const PanelSource& w, uint16_t* panels, int64_t begin, int64_t end) {
  if (w.dtype == DType::bf16) return pack_panels_of<bf16>(g, w, panels, begin, end);
  pack_panels_of<float>(g, w, panels, begin, end);
}

// One pixel's depth blocks, `plane` elements apart; the last is filled up with zeros.
TW_INLINE void copy_pixel(const uint16_t* from, int64_t stride, int64_t depth, uint16_t* to, int64_t plane) {
  if (stride == 1) {
    for (; depth >= dot_depth; depth -= dot_depth, from += dot_depth, to += plane)
      _mm512_storeu_si512(to, _mm512_loadu_si512(from));
    if (depth > 0)
      _mm512_storeu_si512(to, _mm512_maskz_loadu_epi16(_bzhi_u32(~0u, static_cast<unsigned>(depth)), from));
    return;
  }
  for (; depth > 0; depth -= dot_depth, from += dot_depth * stride, to += plane)
    for (int64_t k = 0; k < dot_depth; ++k) to[k] = k < depth ? from[k * stride] : uint16_t{0};
}

void pack_source(const TapGemm& g, const FlatGrid& flat, int64_t first, int64_t count, uint16_t* packed) {
  const int64_t begin = first - flat.lead, length = count + flat.lead + flat.reach;
  const int64_t images = flat.images(), plane = images * length * dot_depth;
  const auto zero = [&](uint16_t* to, int64_t positions) {
    for (int64_t block = 0; block < flat.depth_blocks; ++block)
      std::memset(to + block * plane, 0, static_cast<size_t>(positions * dot_depth) * sizeof *to);
  };
  for (int64_t image = 0; image < images; ++image) {
    uint16_t* to = packed + image * length * dot_depth;
    for (int64_t position = begin; position < begin + length;) {
      const FlatRun run = run_of(g.axes, flat, g.samples, image, position, begin + length - position);
      const uint16_t* from = static_cast<const uint16_t*>(g.source) + run.pixel * g.pixel_stride;
      for (int64_t i = 0; i < run.pixels; ++i, from += run.step * g.pixel_stride, to += dot_depth)
        copy_pixel(from, g.depth_stride, g.depth, to, plane);
      zero(to, run.positions - run.pixels);
      to += (run.positions - run.pixels) * dot_depth;
      position += run.positions;
    }
  }
}

}  // namespace

template <>
const TapGemmBf16Kernels& kernels_of<TapGemmBf16Kernels, Isa::TW_ISA>() {
  static const TapGemmBf16Kernels kernels{tile_positions, pack_panels, pack_source, multiply};
  return kernels;
}

}  // namespace tw::kernels
