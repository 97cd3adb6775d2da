// The squares of pixels that Winograd convolution transforms: where a tile lies, and a tile at a border.
#pragma once

#include "kernels/cpu/isa/vec.h"
#include "kernels/cpu/isa/winograd.h"

namespace tw::kernels::TW_ISA {

// Where a tile's outputs begin.
struct WinogradPlace {
  int64_t sample, row, column;
};

TW_INLINE WinogradPlace place_of(const WinogradConv& g, int64_t tile) {
  const int64_t columns = g.tile_columns(), rows = g.tile_rows();
  return {tile / columns / rows, tile / columns % rows * winograd_tile, tile % columns * winograd_tile};
}

// A map of (h, w, channels) of one sample, and the square of `side` pixels at (top, left), which may hang
// over.
template <class T>
struct WinogradSquare {
  const T* map;
  int64_t h, w, channels, top, left;

  template <int side>
  TW_INLINE bool inside() const {
    return top >= 0 && left >= 0 && top + side <= h && left + side <= w;
  }
  TW_INLINE const T* pixel(int64_t i, int64_t j) const { return map + ((top + i) * w + left + j) * channels; }

  // Up to a vector of channels from `channel` of each pixel, zero outside of the map: to[side][side][lanes].
  template <int side>
  TW_INLINE void gather(int64_t channel, float* to) const {
    using V = Vec<float>;
    const int64_t left_over = channels - channel < V::lanes ? channels - channel : V::lanes;
    for (int i = 0; i < side; ++i)
      for (int j = 0; j < side; ++j) {
        V value(0.0f);
        if (left_over > 0 && top + i >= 0 && top + i < h && left + j >= 0 && left + j < w) {
          const T* from = pixel(i, j) + channel;
          value = left_over == V::lanes ? V::load(from) : V::load(from, left_over);
        }
        value.store(to + (i * side + j) * V::lanes);
      }
  }
};

// The inputs of a tile.
template <class T>
TW_INLINE WinogradSquare<T> source_square(const WinogradConv& g, const WinogradPlace& p) {
  return {static_cast<const T*>(g.source) + p.sample * g.source_h * g.source_w * g.depth,
          g.source_h,
          g.source_w,
          g.depth,
          p.row - g.pad_top,
          p.column - g.pad_left};
}

}  // namespace tw::kernels::TW_ISA
