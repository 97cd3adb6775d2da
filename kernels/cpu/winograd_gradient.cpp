// A unit of work is one row of six points and some panels of channels: six units need nothing of one another,
// and more threads share the panels. Every sum is one unit's, so that threads change no bit of it.
#include <algorithm>
#include <numeric>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/rounding.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/winograd.h"

namespace tw::kernels {
namespace {

constexpr int64_t chunk_target = 131072;  // floats of a chunk's transforms: half of a 1 MiB L2 cache
constexpr int64_t least_tiles = 16, most_tiles = 128;  // of a chunk; 128 of a panel of dy fill half of L1

struct Partition {
  int64_t panels, groups, panel_slots, slots, chunk, transformed;
};

Partition partition(const WinogradConv& g, const WinogradGradientKernels& kernels) {
  const int64_t threads = thread_count(), padded = round_up(g.depth, winograd_chunk);
  Partition p;
  p.panels = ceil_div(g.channels, kernels.channels_per_panel);
  p.groups = padded / kernels.depths_per_group;
  p.panel_slots = std::min(p.panels, threads / std::gcd(threads, winograd_side));
  p.slots = std::min(threads, winograd_side * p.panel_slots);
  const int64_t most = std::clamp(chunk_target / (winograd_side * padded), least_tiles, most_tiles);
  p.chunk = ceil_div(g.tiles(), ceil_div(g.tiles(), most));
  p.transformed = winograd_side * p.chunk * (padded + kernels.channels_per_panel);
  return p;
}

int64_t folded_size(const Partition& p, const WinogradGradientKernels& kernels) {
  return winograd_side * p.panels * p.groups * 3 * kernels.depths_per_group * kernels.channels_per_panel;
}

}  // namespace

int64_t gradient_workspace_size(const WinogradConv& g) {
  if (g.tiles() == 0) return 0;
  const auto& kernels = active<WinogradGradientKernels>();
  const Partition p = partition(g, kernels);
  return folded_size(p, kernels) + p.slots * p.transformed;
}

void run_winograd_gradient(WinogradGradient gradient, float* workspace) {
  const WinogradConv& g = gradient.conv;
  if (g.tiles() == 0) {
    std::fill_n(gradient.dw, 9 * g.depth * g.channels, 0.0f);
    if (gradient.db) std::fill_n(gradient.db, g.channels, 0.0f);
    return;
  }
  const auto& kernels = active<WinogradGradientKernels>();
  const Partition p = partition(g, kernels);
  gradient.chunk = p.chunk;
  gradient.folded = workspace;
  float* transformed = workspace + folded_size(p, kernels);
  const int64_t units = winograd_side * p.panel_slots;
  parallel_for(p.slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot)
      for (int64_t unit = units * slot / p.slots; unit < units * (slot + 1) / p.slots; ++unit) {
        const int64_t part = unit / winograd_side;
        kernels.run_row(gradient, static_cast<int>(unit % winograd_side), p.panels * part / p.panel_slots,
                        p.panels * (part + 1) / p.panel_slots, transformed + slot * p.transformed);
      }
  });
  parallel_for(p.groups, 1, [&](int64_t begin, int64_t end) { kernels.finish(gradient, begin, end); });
}

}  // namespace tw::kernels
