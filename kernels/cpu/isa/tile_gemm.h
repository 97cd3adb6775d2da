// The register-blocked inner loops that every dense op is built from: GEMM, convolution and their gradients.
#pragma once

#include <cstdint>

namespace tw::kernels {

// One tile of  c[p][j] = init[p][j] + sum over taps t and channels i of  a[t][p][i] * b[t][i][j]
// for p < rows, j < columns. A tap is one position of a convolution's kernel (a GEMM has a single tap).
struct TileArgs {
  const float* const* a;  // a[t * rows + p]: the row of channels that output p reads at tap t
  int64_t taps, channels;
  const float* const*
      b;              // b[t]: the packed panel of tap t, channels x panel width, zero beyond the last column
  float* const* c;    // c[p]: where the row of `columns` results goes
  const float* bias;  // columns values, or null
  const float* const* add;   // add[p]: a row added to the result (the residual), or null
  const float* const* temb;  // temb[p]: another (the sample's time embedding), or null
  int64_t rows, columns;
};

// One tile of  c[m][j] (+)= sum over k of  a[k][m] * b[k][j]: rows of A and B are found through pointers,
// neither is packed. Sums the `depth` terms in order, so a result does not depend on how tiles are spread
// over threads.
struct OuterTileArgs {
  const float* const* a;  // a[k]: rows values
  const float* const*
      b;  // b[k]: columns values, readable up to the vector's end only where `columns` says so
  int64_t depth;
  float* c;  // c[m * c_stride + j]
  int64_t c_stride;
  bool accumulate;
  int64_t rows, columns;  // rows <= outer_rows, columns <= outer_columns
};

struct TileGemmKernels {
  int lanes;
  // The widest panel, in vectors, and the tile height that goes with a panel of v vectors (v
  // = 1..max_vectors).
  int max_vectors;
  int rows_of[5];
  void (*tile)(int vectors, const TileArgs& args);
  int outer_rows, outer_columns;
  void (*outer_tile)(const OuterTileArgs& args);
};

}  // namespace tw::kernels
