// Register tiles: R rows x V vectors of accumulators stay in registers over the whole reduction; each step
// broadcasts R inputs and loads V vectors of the panel for R * V fused multiply-adds. R * V is chosen to fill
// the register file: 24 of 32 accumulators with AVX-512, 12 of 16 below. One order of additions for every
// tile height, so that a result does not depend on tiling.
#include "kernels/cpu/isa/tile_gemm.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/vec.h"

namespace tw::kernels {
namespace {

using V = TW_ISA::Vec<float>;
constexpr int lanes = V::lanes;
#if defined(__AVX512F__)
constexpr int accumulators = 24;
#else
constexpr int accumulators = 12;
#endif
constexpr int rows_for(int vectors) { return accumulators / vectors; }

template <int R, int N>
void tile_of(const TileArgs& t) {
  V sum[R][N];
#pragma GCC unroll 24
  for (int p = 0; p < R; ++p)
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) sum[p][v] = V(0.0f);

  for (int64_t tap = 0; tap < t.taps; ++tap) {
    const float* b = t.b[tap];
    const float* a[R];
#pragma GCC unroll 24
    for (int p = 0; p < R; ++p) a[p] = t.a[tap * t.rows + p];
    for (int64_t i = 0; i < t.channels; ++i, b += N * lanes) {
      V w[N];
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) w[v] = V::load(b + v * lanes);
#pragma GCC unroll 24
      for (int p = 0; p < R; ++p) {
        const V x(a[p][i]);
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v) sum[p][v] = fma(x, w[v], sum[p][v]);
      }
    }
  }

  const bool whole = t.columns == N * lanes;
  for (int p = 0; p < R; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) {
      const int64_t left = whole ? lanes : t.columns - v * lanes;
      if (left <= 0) break;
      const int64_t j = v * lanes;
      V y = sum[p][v];
      if (left >= lanes) {
        if (t.bias) y += V::load(t.bias + j);
        if (t.temb) y += V::load(t.temb[p] + j);
        if (t.add) y += V::load(t.add[p] + j);
        y.store(t.c[p] + j);
      } else {
        if (t.bias) y += V::load(t.bias + j, left);
        if (t.temb) y += V::load(t.temb[p] + j, left);
        if (t.add) y += V::load(t.add[p] + j, left);
        y.store(t.c[p] + j, left);
      }
    }
  }
}

// The last tile of a row of tiles is lower: the height is matched by recursion from the full one down.
template <int R, int N>
void tile_of_height(const TileArgs& t) {
  if (t.rows == R) return tile_of<R, N>(t);
  if constexpr (R > 1) tile_of_height<R - 1, N>(t);
}

void tile(int vectors, const TileArgs& t) {
  switch (vectors) {
    case 1:
      return tile_of_height<rows_for(1), 1>(t);
    case 2:
      return tile_of_height<rows_for(2), 2>(t);
    case 3:
      return tile_of_height<rows_for(3), 3>(t);
    default:
      return tile_of_height<rows_for(4), 4>(t);
  }
}

constexpr int outer_vectors = accumulators == 24 ? 4 : 2;
constexpr int outer_height = accumulators / outer_vectors;

template <int R, int N>
void outer_of(const OuterTileArgs& t) {
  V sum[R][N];
#pragma GCC unroll 24
  for (int m = 0; m < R; ++m)
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) sum[m][v] = V(0.0f);
  const bool whole = t.columns == N * lanes;
  const int64_t tail = t.columns - (N - 1) * lanes;
  for (int64_t k = 0; k < t.depth; ++k) {
    const float* a = t.a[k];
    const float* b = t.b[k];
    V y[N];
#pragma GCC unroll 4
    for (int v = 0; v < N - 1; ++v) y[v] = V::load(b + v * lanes);
    y[N - 1] = whole ? V::load(b + (N - 1) * lanes) : V::load(b + (N - 1) * lanes, tail);
#pragma GCC unroll 24
    for (int m = 0; m < R; ++m) {
      const V x(a[m]);
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) sum[m][v] = fma(x, y[v], sum[m][v]);
    }
  }
  for (int m = 0; m < R; ++m)
    for (int v = 0; v < N; ++v) {
      float* c = t.c + m * t.c_stride + v * lanes;
      const int64_t left = v == N - 1 ? tail : lanes;
      if (t.accumulate) sum[m][v] += left == lanes ? V::load(c) : V::load(c, left);
      if (left == lanes)
        sum[m][v].store(c);
      else
        sum[m][v].store(c, left);
    }
}

template <int R, int N>
void outer_of_size(const OuterTileArgs& t) {
  if constexpr (N > 1) {
    if (t.columns <= (N - 1) * lanes) return outer_of_size<R, N - 1>(t);
  }
  if (t.rows == R) return outer_of<R, N>(t);
  if constexpr (R > 1) outer_of_size<R - 1, N>(t);
}

void outer_tile(const OuterTileArgs& t) { outer_of_size<outer_height, outer_vectors>(t); }

}  // namespace

template <>
const TileGemmKernels& kernels_of<TileGemmKernels, Isa::TW_ISA>() {
  static const TileGemmKernels kernels{lanes,
                                       4,
                                       {0, rows_for(1), rows_for(2), rows_for(3), rows_for(4)},
                                       tile,
                                       outer_height,
                                       outer_vectors * lanes,
                                       outer_tile};
  return kernels;
}

}  // namespace tw::kernels
