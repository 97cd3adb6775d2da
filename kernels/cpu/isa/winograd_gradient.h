// Weight gradient of a 3x3 convolution with stride 1 by Winograd F(3x3, 4x4), the transpose of
// isa/winograd.h:
//   dw = G^T [ sum over tiles of (B^T x B) (.) (A dy A^T) ] G,
// 36 products over the tiles where the definition takes 144 a tile.
#pragma once

#include "kernels/cpu/isa/winograd.h"

namespace tw::kernels {

// The forward pass's geometry: `source` is x, of `depth` channels; dy has the output's extents.
struct WinogradGradient {
  WinogradConv conv;
  const void* dy = nullptr;
  float* dw = nullptr;  // (3, 3, depth, channels)
  float* db = nullptr;  // (channels) or null
  int64_t chunk = 1;    // tiles that are transformed at a time
  // [row of points][panel][depth, whole chunks / depths_per_group][3][depths_per_group][channels_per_panel]:
  // sum over the points s of a row of dU[row][s] G[s][b].
  float* folded = nullptr;
};

struct WinogradGradientKernels {
  int64_t depths_per_group, channels_per_panel;  // of one register block
  // One row of points for panels [begin, end) and every depth: writes its part of `folded`, and db with
  // row 1. `transformed` is scratch: 6 * chunk * (depth, whole chunks + channels_per_panel) floats.
  void (*run_row)(const WinogradGradient&, int row, int64_t begin, int64_t end, float* transformed);
  // dw of depth groups [begin, end) from `folded`.
  void (*finish)(const WinogradGradient&, int64_t begin, int64_t end);
};

}  // namespace tw::kernels
