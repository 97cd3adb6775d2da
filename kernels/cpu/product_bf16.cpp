#include "kernels/cpu/product_bf16.h"

#include <algorithm>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/tap_gemm_bf16.h"
#include "kernels/cpu/rounding.h"
#include "kernels/cpu/thread_pool.h"

namespace tw::kernels {
namespace {

constexpr int64_t packed_bytes = 512 * 1024;  // of a chunk of the source: it shares the L2 cache with a panel
constexpr int64_t serial_below = 1 << 20;     // multiply-adds that are not worth a second thread

// Where the source itself is laid out as the engine wants it.
bool in_place(const TapGemm& g) {
  if (g.taps() != 1 || g.depth_stride != 1 || g.depth % dot_depth != 0) return false;
  for (const TapAxis& a : g.axes)
    if (a.source_step != 1 || a.offset != 0 || a.source != a.grid) return false;
  return true;
}

int64_t chunk_elements(const FlatGrid& flat, int64_t positions) {
  return flat.depth_blocks * flat.images() * (positions + flat.lead + flat.reach) * dot_depth;
}

// Threads share the positions or the panels; a unit of positions is two tiles.
struct Partition {
  bool in_place;
  int64_t unit, units, units_per_chunk, panels, position_slots = 1, panel_slots = 1;

  Partition(const TapGemm& g, const FlatGrid& flat, int slots) : in_place(kernels::in_place(g)) {
    unit = 2 * active<TapGemmBf16Kernels>().positions_per_tile;
    units = ceil_div(flat.positions, unit);
    panels = ceil_div(g.channels, dot_channels);
    const int64_t bytes = std::max<int64_t>(1, flat.depth_blocks * flat.images() * dot_depth * 2);
    units_per_chunk = std::max<int64_t>(4, (packed_bytes / bytes - flat.lead - flat.reach) / unit);
    if (in_place) units_per_chunk = std::max<int64_t>(4, packed_bytes / bytes / unit);
    units_per_chunk = std::min(units_per_chunk, units);
    if (flat.positions * g.channels * g.taps() * g.depth < serial_below) return;
    // What is not shared, every thread reads in full: the weights, or the source, which it also copies.
    const bool share_weights = g.channels * g.taps() * g.depth > 2 * flat.positions * g.depth;
    if (units < 4 * slots || (share_weights && panels % slots == 0))
      panel_slots = std::min<int64_t>(panels, slots);
    position_slots = std::clamp<int64_t>(slots / panel_slots, 1, units);
  }
  // Elements of one slot's scratch: in place, only a last tile that is cut short is copied.
  int64_t slot_elements(const FlatGrid& flat) const {
    return round_up(chunk_elements(flat, in_place ? unit : units_per_chunk * unit), 32);
  }
};

}  // namespace

const char* bf16_product_declines(const TapGemm& g) {
  const Bf16Dot dot = bf16_dot();
  if (g.source_dtype != DType::bf16) return "the activations are not bf16";
  if (dot == Bf16Dot::widen) return "this processor multiplies f32 as fast as bf16";
  for (const TapAxis& a : g.axes)
    if (a.taps > dot_axis_taps) return "more than 16 taps along an axis";
  if (g.taps() > dot_taps) return "more than 128 taps";
  // Both engines fill up: this one depth and channels to 32, the other channels to 16.
  const int64_t rate = dot == Bf16Dot::tdpbf16ps ? 12 : 2;
  const int64_t here = round_up(g.depth, dot_depth) * round_up(g.channels, dot_channels);
  if (here > rate * g.depth * round_up(g.channels, 16)) return "too few channels";
  return nullptr;
}

int64_t bf16_packed_size(const TapGemm& g) {
  return round_up(g.channels, dot_channels) * g.taps() * round_up(g.depth, dot_depth) / 2;
}

void bf16_pack_weights(const TapGemm& g, const PanelSource& weight, float* packed) {
  const auto& kernels = active<TapGemmBf16Kernels>();
  const int64_t panel = std::max<int64_t>(1, dot_channels * g.taps() * g.depth);
  parallel_for(ceil_div(g.channels, dot_channels), ceil_div(16384, panel), [&](int64_t begin, int64_t end) {
    kernels.pack_panels(g, weight, reinterpret_cast<uint16_t*>(packed), begin, end);
  });
}

int64_t bf16_workspace_size(const TapGemm& g, int slots) {
  if (g.rows() == 0 || g.channels == 0) return 0;
  const FlatGrid flat = flat_grid(g.axes, g.samples, g.depth);
  const Partition p(g, flat, slots);
  return p.position_slots * p.panel_slots * p.slot_elements(flat) / 2;
}

void run_bf16_product(const TapGemm& g, int slots, float* workspace) {
  if (g.rows() == 0 || g.channels == 0) return;
  const auto& kernels = active<TapGemmBf16Kernels>();
  const FlatGrid flat = flat_grid(g.axes, g.samples, g.depth);
  const Partition p(g, flat, slots);
  const uint16_t* panels = reinterpret_cast<const uint16_t*>(g.panels);
  const auto run_slot = [&](int64_t slot) {
    const int64_t r = slot % p.position_slots, c = slot / p.position_slots;
    const int64_t panel_begin = p.panels * c / p.panel_slots, panel_end = p.panels * (c + 1) / p.panel_slots;
    uint16_t* packed = reinterpret_cast<uint16_t*>(workspace) + slot * p.slot_elements(flat);
    const auto copied = [&](int64_t first, int64_t count) {
      const int64_t whole = round_up(count, p.unit), length = whole + flat.lead + flat.reach;
      FlatSource source{.from = packed + flat.lead * dot_depth,
                        .block_stride = flat.images() * length * dot_depth};
      for (int64_t tap = 0; tap < g.taps(); ++tap)
        source.offset[tap] = (flat.image[tap] * length + flat.distance[tap]) * dot_depth;
      kernels.pack_source(g, flat, first, whole, packed);
      kernels.multiply(g, flat, source, first, count, panels, panel_begin, panel_end);
    };
    const int64_t end = std::min(p.units * (r + 1) / p.position_slots * p.unit, flat.positions);
    for (int64_t first = p.units * r / p.position_slots * p.unit; first < end;
         first += p.units_per_chunk * p.unit) {
      int64_t count = std::min(p.units_per_chunk * p.unit, end - first);
      if (!p.in_place) {
        copied(first, count);
        continue;
      }
      const int64_t rest = count % kernels.positions_per_tile;
      count -= rest;
      const FlatSource source{.from = static_cast<const uint16_t*>(g.source) + first * g.pixel_stride,
                              .position_stride = g.pixel_stride,
                              .block_stride = dot_depth};
      if (count) kernels.multiply(g, flat, source, first, count, panels, panel_begin, panel_end);
      if (rest) copied(first + count, rest);
    }
  };
  parallel_for(p.position_slots * p.panel_slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot) run_slot(slot);
  });
}

}  // namespace tw::kernels
