#include "kernels/cpu/conv_direct.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/tile_gemm.h"
#include "kernels/cpu/thread_pool.h"

namespace tw::kernels {
namespace {

constexpr int64_t most_pointers = 9216;  // of one tile, on the stack: a 7x7x7 kernel with the highest tile

// Target pixels whose source pixels are hit by the same taps. Forward there is one such grid; the data
// gradient of a strided convolution has one for every residue of the stride, so that no tap is multiplied by
// zeros.
struct Grid {
  int64_t begin[3], step[3], count[3];
  int64_t tap_count = 0;
  int64_t pixels() const { return count[0] * count[1] * count[2]; }
};

class Direct {
 public:
  Direct(const ConvGeometry& g, ConvDirection direction)
      : g_(g),
        forward_(direction == ConvDirection::forward),
        layout_(panel_layout(g, direction)),
        target_(forward_ ? g.out : g.in),
        source_(forward_ ? g.in : g.out),
        channels_(forward_ ? g.ci : g.co),
        columns_(forward_ ? g.co : g.ci),
        kernels_(active<TileGemmKernels>()) {
    height_ =
        std::min<int64_t>(kernels_.rows_of[layout_.vectors], most_pointers / std::max<int64_t>(1, g.taps()));
    check(height_ >= 1, "convolution", "a kernel of ", g.taps(), " taps is too large; at most ",
          most_pointers, " are supported");
  }

  void run(const float* from, const float* packed, const float* bias, const float* temb,
           const float* residual, float* to, const float* zeros) {
    from_ = from, packed_ = packed, bias_ = bias, temb_ = temb, residual_ = residual, to_ = to,
    zeros_ = zeros;
    const int64_t* step = forward_ ? ones : g_.stride;
    for (int64_t a = 0; a < step[0]; ++a)
      for (int64_t b = 0; b < step[1]; ++b)
        for (int64_t c = 0; c < step[2]; ++c) run_grid(grid_at({a, b, c}, step));
  }

 private:
  static constexpr int64_t ones[3] = {1, 1, 1};
  struct Phase {
    int64_t at[3];
  };

  Grid grid_at(Phase phase, const int64_t* step) const {
    Grid grid;
    grid.tap_count = 1;
    for (int i = 0; i < 3; ++i) {
      grid.begin[i] = phase.at[i];
      grid.step[i] = step[i];
      grid.count[i] = std::max<int64_t>(0, (target_[i] - phase.at[i] + step[i] - 1) / step[i]);
      int64_t hits = 0;
      for (int64_t t = 0; t < g_.kernel[i]; ++t) hits += hit(i, phase.at[i], t);
      grid.tap_count *= hits;
    }
    return grid;
  }

  // Whether tap t of dimension i reaches a source pixel (inside or not) from target coordinate q.
  bool hit(int i, int64_t q, int64_t t) const {
    return forward_ || (q + g_.pad[i] - t * g_.dilation[i]) % g_.stride[i] == 0;
  }
  // The source coordinate, or -1 when it lies outside.
  int64_t source_at(int i, int64_t q, int64_t t) const {
    const int64_t s = forward_ ? q * g_.stride[i] + t * g_.dilation[i] - g_.pad[i]
                               : (q + g_.pad[i] - t * g_.dilation[i]) / g_.stride[i];
    const bool below = !forward_ && q + g_.pad[i] < t * g_.dilation[i];
    return below || s < 0 || s >= source_[i] ? -1 : s;
  }

  void run_grid(const Grid& grid) const {
    const int64_t pixels = g_.n * grid.pixels(), tiles = (pixels + height_ - 1) / height_;
    // Panel by panel, so that at batch 1 each thread keeps its share of the weights in its own cache.
    parallel_for(layout_.panels * tiles, 1, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item)
        run_tile(grid, item / tiles, item % tiles * height_, pixels);
    });
  }

  void run_tile(const Grid& grid, int64_t panel, int64_t first, int64_t pixels) const {
    const float* a[most_pointers];
    const float* b[most_pointers];
    float* c[24];
    const float* add[24];
    const float* temb[24];
    const int64_t rows = std::min(height_, pixels - first), column = panel * layout_.width;
    for (int64_t p = 0; p < rows; ++p) {
      int64_t rest = first + p;
      int64_t q[3];
      for (int i = 2; i >= 0; --i) {
        q[i] = grid.begin[i] + rest % grid.count[i] * grid.step[i];
        rest /= grid.count[i];
      }
      const int64_t sample = rest,
                    pixel = ((sample * target_[0] + q[0]) * target_[1] + q[1]) * target_[2] + q[2];
      c[p] = to_ + pixel * columns_ + column;
      add[p] = residual_ ? residual_ + pixel * columns_ + column : nullptr;
      temb[p] = temb_ ? temb_ + sample * columns_ + column : nullptr;
      gather(q, sample, rows, a + p);
    }
    list_panels(grid, packed_ + panel * g_.taps() * channels_ * layout_.width, b);
    kernels_.tile(layout_.vectors, {.a = a,
                                    .taps = grid.tap_count,
                                    .channels = channels_,
                                    .b = b,
                                    .c = c,
                                    .bias = bias_ ? bias_ + column : nullptr,
                                    .add = residual_ ? add : nullptr,
                                    .temb = temb_ ? temb : nullptr,
                                    .rows = rows,
                                    .columns = std::min(layout_.width, columns_ - column)});
  }

  // a[k * stride] = the source row of target q at its k-th hitting tap.
  void gather(const int64_t* q, int64_t sample, int64_t stride, const float** a) const {
    for (int64_t td = 0; td < g_.kernel[0]; ++td) {
      if (!hit(0, q[0], td)) continue;
      const int64_t d = source_at(0, q[0], td);
      for (int64_t th = 0; th < g_.kernel[1]; ++th) {
        if (!hit(1, q[1], th)) continue;
        const int64_t h = source_at(1, q[1], th);
        const bool outside = d < 0 || h < 0;
        const float* row =
            outside ? zeros_ : from_ + ((sample * source_[0] + d) * source_[1] + h) * source_[2] * channels_;
        for (int64_t tw = 0; tw < g_.kernel[2]; ++tw) {
          if (!hit(2, q[2], tw)) continue;
          const int64_t w = source_at(2, q[2], tw);
          *a = outside || w < 0 ? zeros_ : row + w * channels_;
          a += stride;
        }
      }
    }
  }

  void list_panels(const Grid& grid, const float* panel, const float** b) const {
    int64_t tap = 0;
    for (int64_t td = 0; td < g_.kernel[0]; ++td)
      for (int64_t th = 0; th < g_.kernel[1]; ++th)
        for (int64_t tw = 0; tw < g_.kernel[2]; ++tw, ++tap)
          if (hit(0, grid.begin[0], td) && hit(1, grid.begin[1], th) && hit(2, grid.begin[2], tw))
            *b++ = panel + tap * channels_ * layout_.width;
  }

  const ConvGeometry& g_;
  bool forward_;
  PanelLayout layout_;
  const int64_t *target_, *source_;
  int64_t channels_, columns_, height_;
  const TileGemmKernels& kernels_;
  const float *from_ = nullptr, *packed_ = nullptr, *bias_ = nullptr, *temb_ = nullptr, *residual_ = nullptr,
              *zeros_ = nullptr;
  float* to_ = nullptr;
};

}  // namespace

PanelLayout panel_layout(const ConvGeometry& g, ConvDirection direction) {
  const TileGemmKernels& kernels = active<TileGemmKernels>();
  const bool forward = direction == ConvDirection::forward;
  PanelLayout layout;
  layout.columns = forward ? g.co : g.ci;
  layout.channels = forward ? g.ci : g.co;
  layout.taps = g.taps();
  const int64_t vectors = (layout.columns + kernels.lanes - 1) / kernels.lanes;
  layout.panels = (vectors + kernels.max_vectors - 1) / kernels.max_vectors;
  layout.vectors = static_cast<int>((vectors + layout.panels - 1) / std::max<int64_t>(1, layout.panels));
  layout.width = layout.vectors * kernels.lanes;
  return layout;
}

void direct_pack(const ConvGeometry& g, ConvDirection direction, const View& w, float* packed) {
  const PanelLayout layout = panel_layout(g, direction);
  const bool forward = direction == ConvDirection::forward;
  const int64_t row_step = forward ? g.co : 1, column_step = forward ? 1 : g.co;
  parallel_for(layout.panels * layout.taps, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t panel = item / layout.taps, tap = item % layout.taps, first = panel * layout.width;
      const int64_t columns = std::min(layout.width, layout.columns - first);
      float* out = packed + item * layout.channels * layout.width;
      auto copy = [&](const auto* weights) {
        weights += tap * g.ci * g.co + first * column_step;
        for (int64_t i = 0; i < layout.channels; ++i) {
          for (int64_t j = 0; j < columns; ++j)
            out[i * layout.width + j] = static_cast<float>(weights[i * row_step + j * column_step]);
          std::fill(out + i * layout.width + columns, out + (i + 1) * layout.width, 0.0f);
        }
      };
      w.dtype == DType::bf16 ? copy(static_cast<const bf16*>(w.pointer))
                             : copy(static_cast<const float*>(w.pointer));
    }
  });
}

void direct_run(const ConvGeometry& g, ConvDirection direction, const float* from, const float* packed,
                const float* bias, const float* temb, const float* residual, float* to) {
  // The packed buffer ends with a row of zeros that taps outside the image read.
  Direct(g, direction)
      .run(from, packed, bias, temb, residual, to, packed + panel_layout(g, direction).elements());
}

}  // namespace tw::kernels
