// Where the bf16 engines (tap_gemm_bf16.h, tap_outer_bf16.h) put the pixels of a source.
//
// The source's pixels are laid out flat with the zero border between them, pitch[axis] apart along an axis,
// so that a tap is a constant distance: position(pixel, tap) = position(pixel) + distance(tap). The right
// border of a row serves as the left one of the next. A tile is then any run of positions; those that fall
// into a border are computed and dropped (11 % at 16 x 16, 20 % at 8 x 8). A source read with stride s > 1 is
// s^2 images, one for each residue of the position.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa/tap_gemm.h"

namespace tw::kernels {

inline constexpr int64_t dot_depth = 32;     // bf16 of one row of a tile: a cache line
inline constexpr int64_t dot_channels = 32;  // of a panel
inline constexpr int64_t dot_axis_taps = 16, dot_taps = 128;

// The layout that a product needs, from its shape alone.
struct FlatGrid {
  int64_t pitch[3] = {1, 1, 1};  // positions between neighbours along each axis
  int64_t sample = 1;            // positions of a sample
  int64_t positions = 0;         // up to and including that of the last output pixel
  int64_t lead = 0, reach = 0;   // positions before and after its own that a pixel reads
  int64_t residues[3] = {1, 1, 1}, residue[3][dot_axis_taps] = {};
  int64_t end[3] = {1, 1, 1};  // positions from here on along an axis are border
  int64_t depth_blocks = 0;
  int64_t image[dot_taps] = {}, distance[dot_taps] = {};  // of each tap

  [[gnu::always_inline]] int64_t images() const { return residues[0] * residues[1] * residues[2]; }
};

FlatGrid flat_grid(const TapAxis (&axes)[3], int64_t samples, int64_t depth);

// A position's place on the grid; outside of it for a border.
struct FlatPlace {
  int64_t at[3], sample;
};
[[gnu::always_inline]] inline FlatPlace place_of(const FlatGrid& flat, int64_t position) {
  FlatPlace p;
  p.sample = position / flat.sample;
  position %= flat.sample;
  for (int axis = 0; axis < 3; ++axis) {
    p.at[axis] = position / flat.pitch[axis];
    position %= flat.pitch[axis];
  }
  return p;
}

// The positions from one on that lie in one line, and the pixels with which they begin: `pixel` of the source
// and those `step` after each other, `pixels` of them; the rest is border.
struct FlatRun {
  int64_t positions, pixels, pixel, step;
};
[[gnu::always_inline]] inline FlatRun run_of(const TapAxis (&axes)[3], const FlatGrid& flat, int64_t samples,
                                             int64_t image, int64_t position, int64_t most) {
  if (position < 0) return {-position < most ? -position : most, 0, 0, 0};
  if (position >= samples * flat.sample) return {most, 0, 0, 0};
  const FlatPlace p = place_of(flat, position);
  FlatRun run{flat.pitch[1] - p.at[2] < most ? flat.pitch[1] - p.at[2] : most, 0, 0, axes[2].source_step};
  int64_t residue[3], end[3];
  for (int axis = 2; axis >= 0; --axis) {
    const TapAxis& a = axes[axis];
    residue[axis] = flat.residue[axis][image % flat.residues[axis]];
    image /= flat.residues[axis];
    const int64_t fits = (a.source - residue[axis] + a.source_step - 1) / a.source_step;
    end[axis] = flat.end[axis] < fits ? flat.end[axis] : fits;
  }
  if (p.at[0] >= end[0] || p.at[1] >= end[1] || p.at[2] >= end[2]) return run;
  run.pixels = end[2] - p.at[2] < run.positions ? end[2] - p.at[2] : run.positions;
  run.pixel = p.sample;
  for (int axis = 0; axis < 3; ++axis)
    run.pixel = run.pixel * axes[axis].source + p.at[axis] * axes[axis].source_step + residue[axis];
  return run;
}

}  // namespace tw::kernels
