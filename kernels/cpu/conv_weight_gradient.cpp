// dw[t][ci][co] = sum over output pixels o of  x[o * stride + t * dilation - pad][ci] * dy[o][co]
//
// Every (tap, ci block, co block) is one register tile and belongs to one thread, which adds the pixels up in
// order. Pixels go in chunks whose rows of x and dy stay in the second-level cache while all tiles of the
// thread pass over them.
#include <algorithm>

#include "kernels/cpu/conv_direct.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/tile_gemm.h"
#include "kernels/cpu/thread_pool.h"

namespace tw::kernels {
namespace {

constexpr int64_t chunk_pixels = 512;

struct Chunk {
  const float* x[chunk_pixels];   // the rows of one tap that lie inside the image
  const float* dy[chunk_pixels];  // and those of dy that they meet
  int64_t count = 0;
};

// The input pixel that output pixel `rest` of dimension order (n, d, h, w) meets at tap t, or -1.
int64_t input_pixel(const ConvGeometry& g, int64_t rest, const int64_t* t) {
  int64_t position[3];
  for (int i = 2; i >= 0; --i) {
    position[i] = rest % g.out[i] * g.stride[i] + t[i] * g.dilation[i] - g.pad[i];
    if (position[i] < 0 || position[i] >= g.in[i]) return -1;
    rest /= g.out[i];
  }
  return ((rest * g.in[0] + position[0]) * g.in[1] + position[1]) * g.in[2] + position[2];
}

void gather(const ConvGeometry& g, const float* x, const float* dy, int64_t tap, int64_t first, int64_t last,
            Chunk& chunk) {
  const int64_t t[3] = {tap / (g.kernel[1] * g.kernel[2]), tap / g.kernel[2] % g.kernel[1],
                        tap % g.kernel[2]};
  chunk.count = 0;
  for (int64_t o = first; o < last; ++o) {
    const int64_t pixel = input_pixel(g, o, t);
    if (pixel < 0) continue;
    chunk.x[chunk.count] = x + pixel * g.ci;
    chunk.dy[chunk.count++] = dy + o * g.co;
  }
}

}  // namespace

void direct_weight_gradient(const ConvGeometry& g, const float* x, const float* dy, float* dw) {
  const TileGemmKernels& kernels = active<TileGemmKernels>();
  const int64_t row_blocks = (g.ci + kernels.outer_rows - 1) / kernels.outer_rows;
  const int64_t column_blocks = (g.co + kernels.outer_columns - 1) / kernels.outer_columns;
  const int64_t per_tap = row_blocks * column_blocks, pixels = g.n * g.out_pixels();
  std::fill(dw, dw + g.taps() * g.ci * g.co, 0.0f);

  parallel_for(g.taps() * per_tap, 1, [&](int64_t begin, int64_t end) {
    Chunk chunk;
    for (int64_t first = 0; first < pixels; first += chunk_pixels) {
      for (int64_t tap = begin / per_tap; tap * per_tap < end; ++tap) {
        gather(g, x, dy, tap, first, std::min(pixels, first + chunk_pixels), chunk);
        if (chunk.count == 0) continue;
        const int64_t stop = std::min(end, (tap + 1) * per_tap);
        // Rows of x are addressed from their first channel: the tile's offset is added once per block of
        // rows.
        int64_t row = 0, column = 0;
        for (int64_t item = std::max(begin, tap * per_tap); item < stop; ++item) {
          const int64_t next_column = item % per_tap / row_blocks * kernels.outer_columns,
                        next_row = item % row_blocks * kernels.outer_rows;
          for (int64_t k = 0; k < chunk.count; ++k) chunk.x[k] += next_row - row;
          if (next_column != column)
            for (int64_t k = 0; k < chunk.count; ++k) chunk.dy[k] += next_column - column;
          row = next_row, column = next_column;
          kernels.outer_tile({.a = chunk.x,
                              .b = chunk.dy,
                              .depth = chunk.count,
                              .c = dw + (tap * g.ci + row) * g.co + column,
                              .c_stride = g.co,
                              .accumulate = true,
                              .rows = std::min<int64_t>(kernels.outer_rows, g.ci - row),
                              .columns = std::min<int64_t>(kernels.outer_columns, g.co - column)});
        }
      }
    }
  });
}

}  // namespace tw::kernels
