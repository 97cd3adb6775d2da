#include "kernels/cpu/isa/flat_grid.h"

#include <algorithm>

#include "kernels/cpu/rounding.h"

namespace tw::kernels {
namespace {

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

}  // namespace

FlatGrid flat_grid(const TapAxis (&axes)[3], int64_t samples, int64_t depth) {
  FlatGrid flat;
  int64_t index[3][dot_axis_taps] = {}, shift[3][dot_axis_taps] = {};  // residue and position of each tap
  for (int axis = 2; axis >= 0; --axis) {
    const TapAxis& a = axes[axis];
    int64_t low = 0, high = 0, used = 0;
    flat.residues[axis] = 0;
    for (int64_t tap = 0; tap < a.taps; ++tap) {
      const int64_t at = a.offset + tap * a.offset_step;
      shift[axis][tap] = floor_div(at, a.source_step);
      const int64_t residue = at - shift[axis][tap] * a.source_step;
      int64_t* known = flat.residue[axis];
      index[axis][tap] = std::find(known, known + flat.residues[axis], residue) - known;
      if (index[axis][tap] == flat.residues[axis]) known[flat.residues[axis]++] = residue;
      low = std::min(low, shift[axis][tap]);
      high = tap ? std::max(high, shift[axis][tap]) : shift[axis][tap];
    }
    flat.end[axis] = std::max<int64_t>(0, a.grid + high);
    for (int64_t i = 0; i < flat.residues[axis]; ++i)
      used = std::max(used, ceil_div(std::max<int64_t>(0, a.source - flat.residue[axis][i]), a.source_step));
    const int64_t extent = std::max({a.grid, flat.end[axis], std::min(used, flat.end[axis]) - low});
    if (axis > 0)
      flat.pitch[axis - 1] = flat.pitch[axis] * extent;
    else
      flat.sample = flat.pitch[0] * extent;
  }
  int64_t last = (samples - 1) * flat.sample;
  for (int axis = 0; axis < 3; ++axis) last += (axes[axis].grid - 1) * flat.pitch[axis];
  flat.positions = last + 1;
  flat.depth_blocks = ceil_div(depth, dot_depth);
  const int64_t taps = axes[0].taps * axes[1].taps * axes[2].taps;
  for (int64_t tap = 0; tap < taps; ++tap) {
    int64_t rest = tap, scale = 1;
    for (int axis = 2; axis >= 0; --axis) {
      const int64_t t = rest % axes[axis].taps;
      rest /= axes[axis].taps;
      flat.image[tap] += index[axis][t] * scale;
      flat.distance[tap] += shift[axis][t] * flat.pitch[axis];
      scale *= flat.residues[axis];
    }
    flat.lead = std::max(flat.lead, -flat.distance[tap]);
    flat.reach = std::max(flat.reach, flat.distance[tap]);
  }
  return flat;
}

}  // namespace tw::kernels
