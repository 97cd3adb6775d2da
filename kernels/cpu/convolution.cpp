#include "kernels/cpu/convolution.h"

#include <algorithm>
#include <numeric>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/thread_pool.h"

namespace tw::kernels {
namespace {

constexpr int64_t depth_target = 1152;     // (tap, k) pairs a block: 9 taps of 128 channels
constexpr int64_t rows_target = 96;        // rows a block
constexpr int64_t packed_target = 131072;  // floats of packed rows: half of a 1 MiB L2 cache
constexpr int64_t serial_below = 1 << 18;  // multiply-adds that are not worth a second thread

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

DepthBlocks blocks_of(const TapGemm& g) { return DepthBlocks::of(g.taps(), g.depth); }

struct Partition {
  int64_t row_slots, panel_slots, tiles, panels, tiles_per_block;
};

Partition partition(const TapGemm& g, const TapGemmKernels& kernels, int slots) {
  const DepthBlocks blocks = blocks_of(g);
  Partition p{1, 1, ceil_div(g.rows(), kernels.rows_per_tile),
              ceil_div(g.channels, kernels.channels_per_panel), 1};
  const int64_t cached = packed_target / std::max<int64_t>(1, blocks.stride * kernels.rows_per_tile);
  p.tiles_per_block = std::clamp<int64_t>(cached, 2, rows_target / kernels.rows_per_tile);
  if (g.rows() * g.channels * g.taps() * g.depth < serial_below) return p;
  // Few rows: the threads share the weights instead, each keeping its own part in its cache.
  p.panel_slots = p.tiles >= 8 * slots ? 1 : std::min<int64_t>(p.panels, slots);
  p.row_slots = std::clamp<int64_t>(slots / p.panel_slots, 1, p.tiles);
  return p;
}

int64_t slot_floats(const TapGemm& g, const Partition& p, const TapGemmKernels& kernels) {
  const DepthBlocks blocks = blocks_of(g);
  const int64_t rows = std::min(p.tiles_per_block, p.tiles) * kernels.rows_per_tile;
  const int64_t sums =
      blocks.count > 1 ? rows * ceil_div(p.panels, p.panel_slots) * kernels.channels_per_panel : 0;
  return round_up(rows * blocks.stride + sums, chunk);
}

}  // namespace

DepthBlocks DepthBlocks::of(int64_t taps, int64_t depth) {
  DepthBlocks blocks;
  if (taps * depth == 0) return blocks;
  if (depth > depth_target) {
    const int64_t pieces = ceil_div(depth, depth_target);
    blocks.depth_per_block = round_up(ceil_div(depth, pieces), chunk);
    blocks.count = taps * ceil_div(depth, blocks.depth_per_block);
  } else {
    blocks.depth_per_block = depth;
    blocks.taps_per_block = ceil_div(taps, ceil_div(taps * depth, depth_target));
    blocks.count = ceil_div(taps, blocks.taps_per_block);
  }
  blocks.stride = round_up(blocks.taps_per_block * blocks.depth_per_block, chunk);
  return blocks;
}

int64_t packed_size(const TapGemm& g) {
  const DepthBlocks blocks = blocks_of(g);
  const int64_t width = active<TapGemmKernels>().channels_per_panel;
  return round_up(g.channels, width) * blocks.count * blocks.stride;
}

void pack_weights(const TapGemm& g, const PanelSource& weight, float* packed) {
  const auto& kernels = active<TapGemmKernels>();
  const DepthBlocks blocks = blocks_of(g);
  const int64_t panel = std::max<int64_t>(1, blocks.count * blocks.stride * kernels.channels_per_panel);
  parallel_for(
      ceil_div(g.channels, kernels.channels_per_panel), ceil_div(16384, panel),
      [&](int64_t begin, int64_t end) { kernels.pack_panels(g, blocks, weight, packed, begin, end); });
}

int64_t workspace_size(const TapGemm& g, int slots) {
  const auto& kernels = active<TapGemmKernels>();
  const Partition p = partition(g, kernels, slots);
  return p.row_slots * p.panel_slots * slot_floats(g, p, kernels);
}

void run_product(const TapGemm& g, int slots, float* workspace) {
  if (g.rows() == 0 || g.channels == 0) return;
  const auto& kernels = active<TapGemmKernels>();
  const DepthBlocks blocks = blocks_of(g);
  const Partition p = partition(g, kernels, slots);
  const int64_t floats = slot_floats(g, p, kernels), tile = kernels.rows_per_tile;
  parallel_for(p.row_slots * p.panel_slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot) {
      const int64_t r = slot % p.row_slots, c = slot / p.row_slots;
      const int64_t tile_end = p.tiles * (r + 1) / p.row_slots;
      const int64_t panel_begin = p.panels * c / p.panel_slots,
                    panel_end = p.panels * (c + 1) / p.panel_slots;
      float* packed = workspace + slot * floats;
      float* sums = packed + std::min(p.tiles_per_block, p.tiles) * tile * blocks.stride;
      for (int64_t t = p.tiles * r / p.row_slots; t < tile_end; t += p.tiles_per_block) {
        const int64_t end_row = std::min(std::min(t + p.tiles_per_block, tile_end) * tile, g.rows());
        kernels.run(g, blocks, t * tile, end_row - t * tile, panel_begin, panel_end, packed, sums);
      }
    }
  });
}

bool ConvGeometry::pointwise() const {
  for (const ConvAxis& a : axes)
    if (a.kernel != 1 || a.stride != 1 || a.pad != 0 || a.fine != a.coarse) return false;
  return true;
}

ConvGeometry flattened(const ConvGeometry& geometry) {
  ConvGeometry flat;
  int64_t pixels = geometry.samples;
  for (const ConvAxis& a : geometry.axes) pixels *= a.fine;
  flat.axes[2].fine = flat.axes[2].coarse = pixels;
  return flat;
}

int64_t ConvPass::phases() const {
  int64_t count = 1;
  if (direction == ConvDirection::scatter)
    for (const ConvAxis& a : geometry.axes) count *= std::min(a.stride, a.fine);
  return count;
}

TapGemm ConvPass::product(int64_t phase) const {
  TapGemm g;
  g.samples = geometry.samples;
  g.depth = g.pixel_stride = depth;
  g.channels = g.output_stride = channels;
  for (int axis = 2; axis >= 0; --axis) {
    const ConvAxis& a = geometry.axes[axis];
    TapAxis& t = g.axes[axis];
    t.kernel = a.kernel;
    if (direction == ConvDirection::gather) {
      t.source = a.fine;
      t.grid = t.output = a.coarse;
      t.source_step = a.stride;
      t.taps = a.kernel;
      t.offset = -a.pad;
      t.offset_step = a.dilation;
      continue;
    }
    // Fine position q = first + g * stride meets tap j at coarse position (q + pad - j * dilation) / stride,
    // where that is whole: for every (stride / gcd)-th tap.
    const int64_t count = std::min(a.stride, a.fine), first = phase % count;
    phase /= count;
    t.source = a.coarse;
    t.output = a.fine;
    t.out = first;
    t.out_step = a.stride;
    t.grid = ceil_div(a.fine - first, a.stride);
    t.tap_step = a.stride / std::gcd(a.stride, a.dilation);
    t.offset_step = -(t.tap_step * a.dilation / a.stride);
    t.taps = 0;
    for (int64_t j = 0; j < std::min(t.tap_step, a.kernel); ++j) {
      const int64_t at = first + a.pad - j * a.dilation;
      if (at % a.stride) continue;
      t.tap_first = j;
      t.taps = ceil_div(a.kernel - j, t.tap_step);
      t.offset = at / a.stride;
      break;
    }
  }
  return g;
}

int64_t ConvPass::packed_size() const {
  int64_t size = 0;
  for (int64_t phase = 0; phase < phases(); ++phase) size += kernels::packed_size(product(phase));
  return size;
}

void ConvPass::pack(float* packed) const {
  for (int64_t phase = 0; phase < phases(); ++phase) {
    const TapGemm g = product(phase);
    pack_weights(g, weight, packed);
    packed += kernels::packed_size(g);
  }
}

int64_t ConvPass::workspace_size() const {
  int64_t size = 0;
  for (int64_t phase = 0; phase < phases(); ++phase)
    size = std::max(size, kernels::workspace_size(product(phase), thread_count()));
  return size;
}

void ConvPass::run(const View& source, const View& output, const ConvTerms& terms, const float* packed,
                   float* workspace) const {
  for (int64_t phase = 0; phase < phases(); ++phase) {
    TapGemm g = product(phase);
    g.source = source.pointer;
    g.source_dtype = source.dtype;
    g.output = output.pointer;
    g.output_dtype = output.dtype;
    g.bias = terms.bias;
    g.temb = terms.temb;
    g.residual = terms.residual;
    g.panels = packed;
    run_product(g, thread_count(), workspace);
    packed += kernels::packed_size(g);
  }
}

}  // namespace tw::kernels
