#include "kernels/cpu/convolution.h"

#include <algorithm>
#include <numeric>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/product_bf16.h"
#include "kernels/cpu/rounding.h"
#include "kernels/cpu/thread_pool.h"

namespace tw::kernels {
namespace {

constexpr int64_t packed_target =
    98304;  // floats of packed source: 384 KiB, with a panel in a 1 MiB L2 cache
constexpr int64_t output_target = 24576;  // floats of output
constexpr int64_t resident_weights = 131072;
constexpr int64_t serial_below = 1 << 18;  // multiply-adds that are not worth a second thread

// How the threads share a product: by chunks of the grid, or by panels, each packing the source for itself.
struct Partition {
  int64_t chunk_slots = 1, panel_slots = 1, panels = 1;
  GridChunk full;                 // the extents of a chunk
  int64_t slices, rows, columns;  // chunks along each axis
  int64_t chunks() const { return slices * rows * columns; }
};

// Extents as equal as can be, none above `most`.
int64_t equal_parts(int64_t extent, int64_t most) {
  return ceil_div(extent, ceil_div(extent, std::max<int64_t>(1, most)));
}

void set_chunks(const TapGemm& g, const TapGemmKernels& kernels, int64_t floats, Partition& p) {
  const int64_t grid_rows = g.axes[1].grid, grid_columns = g.axes[2].grid, group = kernels.pixels_per_group;
  GridChunk& c = p.full;
  c = {0, 1, 0, 1, 0, grid_columns};
  // Where the weights stay in the cache anyway, small chunks cost nothing, and their output is written before
  // it leaves the cache: 3 -> 128 channels on many maps went from 63 to 101 GFLOP/s.
  const bool output_counts = g.channels * g.terms() <= resident_weights;
  const auto size = [&] {
    const int64_t output = output_counts ? c.slices * c.rows * c.columns * g.channels : 0;
    return std::max(packed_floats(g, c, group), output * packed_target / output_target);
  };
  if (size() > floats) {
    const int64_t per_column = std::max<int64_t>(1, size() / grid_columns);
    c.columns = std::min(grid_columns, round_up(equal_parts(grid_columns, floats / per_column), 3 * group));
  } else if (c.rows = grid_rows, size() > floats) {
    c.rows = 1;
    const int64_t one = size();
    c.rows = 2;
    c.rows = equal_parts(grid_rows, 1 + (floats - one) / std::max<int64_t>(1, size() - one));
  } else {
    c.slices = equal_parts(g.slices(), floats / std::max<int64_t>(1, size()));
  }
  p.slices = ceil_div(g.slices(), c.slices);
  p.rows = ceil_div(grid_rows, c.rows);
  p.columns = ceil_div(grid_columns, c.columns);
}

Partition partition(const TapGemm& g, const TapGemmKernels& kernels, int slots) {
  Partition p;
  p.panels = ceil_div(g.channels, kernels.channels_per_panel);
  set_chunks(g, kernels, packed_target, p);
  if (g.rows() * g.channels * g.terms() < serial_below || slots == 1) return p;
  // What is not shared, every thread reads in full: the weights or the source.
  const bool uneven = p.chunks() % slots != 0 && p.chunks() < 4 * slots;
  if (p.panels % slots == 0 && (uneven || g.channels * g.terms() > g.rows() * g.depth)) {
    p.panel_slots = slots;
    return p;
  }
  if (p.chunks() < slots)
    set_chunks(
        g, kernels,
        packed_floats(g, {0, g.slices(), 0, g.axes[1].grid, 0, g.axes[2].grid}, kernels.pixels_per_group) /
            slots,
        p);
  p.chunk_slots = std::min<int64_t>(slots, p.chunks());
  p.panel_slots = std::min<int64_t>(p.panels, slots / p.chunk_slots);
  return p;
}

GridChunk chunk_at(const TapGemm& g, const Partition& p, int64_t index) {
  GridChunk c = p.full;
  c.column = index % p.columns * c.columns;
  c.row = index / p.columns % p.rows * c.rows;
  c.slice = index / (p.columns * p.rows) * c.slices;
  c.columns = std::min(c.columns, g.axes[2].grid - c.column);
  c.rows = std::min(c.rows, g.axes[1].grid - c.row);
  c.slices = std::min(c.slices, g.slices() - c.slice);
  return c;
}

int64_t slot_floats(const TapGemm& g, const Partition& p, const TapGemmKernels& kernels) {
  return round_up(packed_floats(g, p.full, kernels.pixels_per_group), 16);
}

}  // namespace

int64_t packed_size(const TapGemm& g) {
  return round_up(g.channels, active<TapGemmKernels>().channels_per_panel) * g.terms();
}

void pack_weights(const TapGemm& g, const PanelSource& weight, float* packed) {
  const auto& kernels = active<TapGemmKernels>();
  const int64_t panel = std::max<int64_t>(1, g.terms() * kernels.channels_per_panel);
  parallel_for(ceil_div(g.channels, kernels.channels_per_panel), ceil_div(16384, panel),
               [&](int64_t begin, int64_t end) { kernels.pack_panels(g, weight, packed, begin, end); });
}

int64_t workspace_size(const TapGemm& g, int slots) {
  if (g.rows() == 0 || g.channels == 0) return 0;
  const auto& kernels = active<TapGemmKernels>();
  const Partition p = partition(g, kernels, slots);
  return p.chunk_slots * p.panel_slots * slot_floats(g, p, kernels);
}

void run_product(const TapGemm& g, int slots, float* workspace) {
  if (g.rows() == 0 || g.channels == 0) return;
  const auto& kernels = active<TapGemmKernels>();
  const Partition p = partition(g, kernels, slots);
  const int64_t floats = slot_floats(g, p, kernels);
  parallel_for(p.chunk_slots * p.panel_slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot) {
      const int64_t r = slot % p.chunk_slots, q = slot / p.chunk_slots;
      float* packed = workspace + slot * floats;
      const int64_t last = p.chunks() * (r + 1) / p.chunk_slots - 1;
      for (int64_t i = p.chunks() * r / p.chunk_slots; i <= last; ++i) {
        const GridChunk c = chunk_at(g, p, i);
        kernels.pack_source(g, c, packed);
        kernels.multiply(g, c, chunk_at(g, p, std::min(i + 1, last)), packed, p.panels * q / p.panel_slots,
                         p.panels * (q + 1) / p.panel_slots);
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
    // The engine wants the taps in the order of the source.
    t.tap_first += (t.taps - 1) * t.tap_step;
    t.offset += (t.taps - 1) * t.offset_step;
    t.tap_step = -t.tap_step;
    t.offset_step = -t.offset_step;
  }
  return g;
}

const char* ConvPass::dot_declines() const {
  for (int64_t phase = 0; phase < phases(); ++phase) {
    TapGemm g = product(phase);
    g.source_dtype = DType::bf16;
    if (const char* reason = bf16_product_declines(g)) return reason;
  }
  return nullptr;
}

int64_t ConvPass::packed_size_of(const TapGemm& g) const {
  return dot ? bf16_packed_size(g) : kernels::packed_size(g);
}

int64_t ConvPass::packed_size() const {
  int64_t size = 0;
  for (int64_t phase = 0; phase < phases(); ++phase) size += packed_size_of(product(phase));
  return size;
}

void ConvPass::pack(float* packed) const {
  for (int64_t phase = 0; phase < phases(); ++phase) {
    const TapGemm g = product(phase);
    dot ? bf16_pack_weights(g, weight, packed) : pack_weights(g, weight, packed);
    packed += packed_size_of(g);
  }
}

int64_t ConvPass::workspace_size() const {
  int64_t size = 0;
  for (int64_t phase = 0; phase < phases(); ++phase) {
    const TapGemm g = product(phase);
    size = std::max(
        size, dot ? bf16_workspace_size(g, thread_count()) : kernels::workspace_size(g, thread_count()));
  }
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
    dot ? run_bf16_product(g, thread_count(), workspace) : run_product(g, thread_count(), workspace);
    packed += packed_size_of(g);
  }
}

}  // namespace tw::kernels
