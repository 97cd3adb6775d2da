// Convolution as its definition: the implementation of f64, and what the fast ones are compared with.

#include "kernels/cpu/convolution.h"
#include "kernels/cpu/thread_pool.h"

namespace tw::kernels {
namespace {

double load(const void* data, DType dtype, int64_t at) {
  if (dtype == DType::f64) return static_cast<const double*>(data)[at];
  if (dtype == DType::bf16)
    return static_cast<double>(static_cast<float>(static_cast<const bf16*>(data)[at]));
  return static_cast<const float*>(data)[at];
}

void store(const View& to, int64_t at, double value) {
  if (to.dtype == DType::f64)
    static_cast<double*>(to.pointer)[at] = value;
  else if (to.dtype == DType::bf16)
    static_cast<bf16*>(to.pointer)[at] = bf16(static_cast<float>(value));
  else
    static_cast<float*>(to.pointer)[at] = static_cast<float>(value);
}

struct Pixel {
  int64_t sample, at[3];
};

Pixel pixel_at(int64_t index, const int64_t extents[3]) {
  Pixel p{};
  for (int axis = 2; axis >= 0; --axis) {
    p.at[axis] = index % extents[axis];
    index /= extents[axis];
  }
  p.sample = index;
  return p;
}

// The flat pixel that meets `p` at a flat tap, or -1: the fine one for a coarse p (gather), or the reverse.
int64_t partner(const ConvGeometry& g, ConvDirection direction, const Pixel& p, int64_t tap) {
  int64_t at[3], flat = p.sample;
  for (int axis = 2; axis >= 0; --axis) {
    const ConvAxis& a = g.axes[axis];
    const int64_t shift = tap % a.kernel * a.dilation - a.pad;
    tap /= a.kernel;
    at[axis] = direction == ConvDirection::gather ? p.at[axis] * a.stride + shift : p.at[axis] - shift;
    if (direction == ConvDirection::scatter) {
      if (at[axis] % a.stride) return -1;
      at[axis] /= a.stride;
    }
    if (at[axis] < 0 || at[axis] >= (direction == ConvDirection::gather ? a.fine : a.coarse)) return -1;
  }
  for (int axis = 0; axis < 3; ++axis) {
    const ConvAxis& a = g.axes[axis];
    flat = flat * (direction == ConvDirection::gather ? a.fine : a.coarse) + at[axis];
  }
  return flat;
}

}  // namespace

void reference_pass(const ConvPass& pass, const View& source, const View& output, const ConvTerms& terms) {
  const ConvGeometry& g = pass.geometry;
  int64_t extents[3], pixels = g.samples;
  for (int axis = 0; axis < 3; ++axis) {
    const ConvAxis& a = g.axes[axis];
    extents[axis] = pass.direction == ConvDirection::gather ? a.coarse : a.fine;
    pixels *= extents[axis];
  }
  const PanelSource& w = pass.weight;
  parallel_for(pixels, 16, [&](int64_t begin, int64_t end) {
    for (int64_t pixel = begin; pixel < end; ++pixel) {
      const Pixel p = pixel_at(pixel, extents);
      for (int64_t j = 0; j < pass.channels; ++j) {
        double sum = 0;
        for (int64_t tap = 0; tap < g.taps(); ++tap) {
          const int64_t from = partner(g, pass.direction, p, tap);
          if (from < 0) continue;
          for (int64_t k = 0; k < pass.depth; ++k)
            sum += load(source.pointer, source.dtype, from * pass.depth + k) *
                   load(w.data, w.dtype, tap * w.tap_stride + k * w.depth_stride + j * w.channel_stride);
        }
        const int64_t at = pixel * pass.channels + j;
        if (terms.bias) sum += load(terms.bias.pointer, terms.bias.dtype, j);
        if (terms.temb) sum += load(terms.temb.pointer, terms.temb.dtype, p.sample * pass.channels + j);
        if (terms.residual) sum += load(terms.residual.pointer, terms.residual.dtype, at);
        store(output, at, sum);
      }
    }
  });
}

void reference_outer(const ConvGeometry& g, const View& fine, const View& coarse, bool fine_rows,
                     const View& gradient) {
  const int64_t extents[3] = {g.axes[0].coarse, g.axes[1].coarse, g.axes[2].coarse};
  const int64_t pixels = g.samples * extents[0] * extents[1] * extents[2];
  const int64_t fine_channels = fine.shape.back(), coarse_channels = coarse.shape.back();
  const int64_t rows = fine_rows ? fine_channels : coarse_channels;
  const int64_t columns = fine_rows ? coarse_channels : fine_channels;
  parallel_for(g.taps() * rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t i = row % rows, tap = row / rows;
      for (int64_t j = 0; j < columns; ++j) {
        double sum = 0;
        for (int64_t pixel = 0; pixel < pixels; ++pixel) {
          const int64_t from = partner(g, ConvDirection::gather, pixel_at(pixel, extents), tap);
          if (from >= 0)
            sum += load(fine.pointer, fine.dtype, from * fine_channels + (fine_rows ? i : j)) *
                   load(coarse.pointer, coarse.dtype, pixel * coarse_channels + (fine_rows ? j : i));
        }
        store(gradient, row * columns + j, sum);
      }
    }
  });
}

void reference_sum(const View& dy, const View& sum) {
  const int64_t channels = dy.shape.back(), pixels = channels ? dy.numel() / channels : 0;
  for (int64_t j = 0; j < channels; ++j) {
    double total = 0;
    for (int64_t pixel = 0; pixel < pixels; ++pixel)
      total += load(dy.pointer, dy.dtype, pixel * channels + j);
    store(sum, j, total);
  }
}

}  // namespace tw::kernels
