// A block is a number of tiles whose transforms stay in the cache; each block streams the weights once. With
// few tiles the threads share the panels of weights instead, each keeping its own part in its cache and
// transforming every tile for itself. An output is computed the same way in any block.
#include "kernels/cpu/winograd.h"

#include <algorithm>
#include <cstdlib>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/rounding.h"
#include "kernels/cpu/thread_pool.h"

namespace tw::kernels {
namespace {

constexpr int64_t block_target = 262144;  // floats of transformed tiles; a sixth of them is in use at a time
constexpr int64_t least_tiles = 24;       // that share one reading of the weights
constexpr int64_t few_tiles = 24;         // a thread, below which the threads share the weights instead

struct Partition {
  int64_t tile_slots, panel_slots, panels, block;
};

Partition partition(const WinogradConv& g, const WinogradKernels& kernels) {
  const int64_t threads = thread_count(), tiles = g.tiles();
  Partition p{1, 1, ceil_div(g.channels, kernels.channels_per_panel), 1};
  p.panel_slots = tiles >= few_tiles * threads ? 1 : std::min(p.panels, threads);
  p.tile_slots = std::clamp<int64_t>(threads / p.panel_slots, 1, tiles);
  const int64_t most =
      std::max(least_tiles, block_target / (winograd_points * round_up(g.depth, winograd_chunk)));
  const int64_t share = ceil_div(tiles, p.tile_slots);
  // Whole units of the kernel: 64 tiles are 32 + 32, not 22 + 22 + 20 that are multiplied as 24 each.
  const int64_t unit = kernels.tiles_per_group / 3, blocks = std::max<int64_t>(1, (share + most / 2) / most);
  p.block = round_up(ceil_div(share, blocks), unit);
  return p;
}

// The parts of a slot's scratch memory, from `begin` on.
WinogradScratch scratch_at(const WinogradConv& g, const Partition& p, const WinogradKernels& kernels,
                           float* begin) {
  float* const weights = begin + winograd_tiles_size(g.depth, p.block, kernels.tiles_per_group);
  return {begin, weights, weights + winograd_weights_size(kernels.channels_per_panel)};
}

int64_t slot_size(const WinogradConv& g, const Partition& p, const WinogradKernels& kernels) {
  return winograd_tiles_size(g.depth, p.block, kernels.tiles_per_group) +
         winograd_weights_size(kernels.channels_per_panel) +
         winograd_products_size(p.block, kernels.tiles_per_group, kernels.channels_per_panel);
}

}  // namespace

int64_t packed_size(const WinogradConv& g) {
  const int64_t width = active<WinogradKernels>().channels_per_panel;
  return ceil_div(g.channels, width) * winograd_panel_size(g.depth, width);
}

void pack_weights(const WinogradConv& g, const WinogradWeight& weight, float* packed) {
  const auto& kernels = active<WinogradKernels>();
  parallel_for(ceil_div(g.channels, kernels.channels_per_panel), 1,
               [&](int64_t begin, int64_t end) { kernels.pack(g, weight, packed, begin, end); });
}

int64_t workspace_size(const WinogradConv& g) {
  if (g.tiles() == 0) return 0;
  const auto& kernels = active<WinogradKernels>();
  const Partition p = partition(g, kernels);
  return p.tile_slots * p.panel_slots * slot_size(g, p, kernels);
}

void run_winograd(const WinogradConv& g, float* workspace) {
  const int64_t tiles = g.tiles();
  if (tiles == 0 || g.channels == 0) return;
  const auto& kernels = active<WinogradKernels>();
  const Partition p = partition(g, kernels);
  const int64_t floats = slot_size(g, p, kernels);
  parallel_for(p.tile_slots * p.panel_slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot) {
      const int64_t t = slot % p.tile_slots, c = slot / p.tile_slots;
      const int64_t tile_end = tiles * (t + 1) / p.tile_slots;
      const WinogradScratch scratch = scratch_at(g, p, kernels, workspace + slot * floats);
      for (int64_t tile = tiles * t / p.tile_slots; tile < tile_end; tile += p.block)
        kernels.run(g, tile, std::min(p.block, tile_end - tile), p.panels * c / p.panel_slots,
                    p.panels * (c + 1) / p.panel_slots, scratch);
    }
  });
}

}  // namespace tw::kernels
