// Convolution to at most four channels (the image at the end of a network, and the gradient of the image at
// its beginning), where a tile of output channels would be almost empty. The taps become channels of one
// matrix product, and are summed afterwards:
//   z(q, t, j) = sum_k x(q, k) w(t, k, j),   y(p, j) = sum_t z(p + t, t, j) + terms
// 3x3 and 3 channels make 27 columns, 84 % of 32 lanes instead of 3 of 16. The weight gradient exchanges its
// operands: r(t, j, i) = sum_q dy(q - t, j) x(q, i), with (t, j) folded into the rows of a tile.
#include <algorithm>

#include "kernels/cpu/conv2d.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/tap_sum.h"
#include "kernels/cpu/rounding.h"
#include "kernels/cpu/thread_pool.h"

namespace tw::kernels {
namespace {

constexpr int64_t most_channels = 4, least_depth = 16;
constexpr int64_t sums_target = 65536;  // floats of z a thread: 256 KiB
constexpr int64_t float_bytes = sizeof(float);

const char* declines(const Conv2dProblem& problem, int64_t channels, int64_t depth) {
  if (problem.dtype == DType::f64) return "the dtype is f64";
  if (channels > most_channels) return "more than four output channels";
  if (depth < least_depth) return "few input channels";
  if (problem.w[0] * problem.w[1] < 2) return "one tap";
  return problem.params.stride_h != 1 || problem.params.stride_w != 1 ? "a stride" : nullptr;
}

template <Conv2dPass which>
struct Thin {
  TapGemm axes;     // of the convolution
  TapGemm product;  // of one chunk, in its full size
  int64_t columns;  // of z, whole panels
  int64_t rows, chunks_a_sample, slots, engine_floats = 0;
  PanelSource weight;  // without its data

  explicit Thin(const Conv2dProblem& problem) {
    const int64_t ci = problem.w[2], co = problem.w[3];
    const bool forward = which == Conv2dPass::forward;
    ConvPass pass{forward ? ConvDirection::gather : ConvDirection::scatter,
                  geometry_of(problem),
                  forward ? ci : co,
                  forward ? co : ci,
                  {}};
    weight = forward ? PanelSource{nullptr, DType::f32, ci * co, co, 1}
                     : PanelSource{nullptr, DType::f32, ci * co, 1, co};
    axes = pass.product(0);
    columns =
        round_up(axes.terms() / axes.depth * axes.channels, active<TapGemmKernels>().channels_per_panel);
    const int64_t grid = axes.axes[1].grid, wide = axes.axes[2].source;
    rows = std::clamp<int64_t>(sums_target / std::max<int64_t>(1, wide * columns) - halo(), 1,
                               std::max<int64_t>(1, grid));
    const int64_t threads = thread_count();
    if (axes.samples < threads)
      rows = std::min(rows, std::max<int64_t>(1, ceil_div(grid * axes.samples, threads)));
    chunks_a_sample = ceil_div(grid, rows);
    slots = std::max<int64_t>(1, std::min(threads, axes.samples * chunks_a_sample));
    product = product_of((rows + halo()) * wide);
    for (int64_t chunk = 0; chunk < chunks_a_sample; ++chunk) {
      const SourceRows r = source_rows(chunk);
      if (r.end > r.begin)
        engine_floats = std::max(engine_floats, workspace_size(product_of((r.end - r.begin) * wide), 1));
    }
  }

  // The rows of the source that a chunk of a sample touches.
  struct SourceRows {
    int64_t begin, end;
  };
  SourceRows source_rows(int64_t chunk) const {
    const TapAxis& height = axes.axes[1];
    const int64_t begin = chunk * rows, end = std::min(begin + rows, height.grid);
    return {std::max<int64_t>(0, begin + height.offset),
            std::min(height.source, end + height.offset + halo())};
  }

  int64_t halo() const { return (axes.axes[1].taps - 1) * axes.axes[1].offset_step; }

  TapGemm product_of(int64_t pixels) const {
    TapGemm g;
    g.axes[2].source = g.axes[2].grid = g.axes[2].output = pixels;
    g.depth = g.pixel_stride = axes.depth;
    g.channels = g.output_stride = columns;
    return g;
  }

  int64_t packed_floats() const { return packed_size(product) + axes.depth * columns; }

  // The weights as one matrix (k, (tap, channel)) behind the panels, then as panels.
  template <class T>
  void pack(const View& w, float* packed) const {
    float* matrix = packed + packed_size(product);
    std::fill_n(matrix, axes.depth * columns, 0.0f);
    const TapAxis &height = axes.axes[1], &width = axes.axes[2];
    for (int64_t tap = 0; tap < axes.taps(); ++tap) {
      const int64_t flat = (height.tap_first + tap / width.taps * height.tap_step) * width.kernel +
                           width.tap_first + tap % width.taps * width.tap_step;
      const T* from = static_cast<const T*>(w.pointer) + flat * weight.tap_stride;
      for (int64_t k = 0; k < axes.depth; ++k)
        for (int64_t j = 0; j < axes.channels; ++j)
          matrix[k * columns + tap * axes.channels + j] =
              static_cast<float>(from[k * weight.depth_stride + j * weight.channel_stride]);
    }
    pack_weights(product, {matrix, DType::f32, 0, columns, 1}, packed);
  }

  int64_t z_floats() const { return round_up((rows + halo()) * axes.axes[2].source * columns + 4, 16); }
  int64_t line_floats() const { return round_up(4 * axes.axes[2].grid, 16); }
  int64_t slot_floats() const { return z_floats() + line_floats() + round_up(engine_floats, 16); }

  void run(const View& source, const View& output, const ConvTerms& terms, const float* packed,
           float* scratch) const {
    TapSum sum{axes, nullptr, 0, columns};
    sum.product.output = output.pointer;
    sum.product.output_dtype = output.dtype;
    sum.product.bias = terms.bias;
    sum.product.temb = terms.temb;
    sum.product.residual = terms.residual;
    const TapAxis &height = axes.axes[1], &width = axes.axes[2];
    const int64_t chunks = axes.samples * chunks_a_sample;
    parallel_for(slots, 1, [&](int64_t slot_begin, int64_t slot_end) {
      for (int64_t slot = slot_begin; slot < slot_end; ++slot) {
        float* z = scratch + slot * slot_floats();
        float* line = z + z_floats();
        for (int64_t chunk = chunks * slot / slots; chunk < chunks * (slot + 1) / slots; ++chunk) {
          const int64_t sample = chunk / chunks_a_sample, begin = chunk % chunks_a_sample * rows;
          const int64_t end = std::min(begin + rows, height.grid);
          const auto [first, last] = source_rows(chunk % chunks_a_sample);
          if (last > first) {
            TapGemm g = product_of((last - first) * width.source);
            g.source_dtype = source.dtype;
            g.source = static_cast<const char*>(source.pointer) +
                       (sample * height.source + first) * width.source * axes.depth *
                           static_cast<int64_t>(dtype_size(source.dtype));
            g.panels = packed;
            g.output = z;
            run_product(g, 1, line + line_floats());
          }
          TapSum one = sum;
          one.z = z;
          one.first_row = first;
          active<TapSumKernels>().run(one, sample, begin, end, line);
        }
      }
    });
  }
};

template <Conv2dPass which>
constexpr Conv2dImplementation thin() {
  return {.name = "thin",
          .declines =
              [](const Conv2dProblem& p) {
                return which == Conv2dPass::forward ? declines(p, p.w[3], p.w[2])
                                                    : declines(p, p.w[2], p.w[3]);
              },
          .packed_bytes = [](const Conv2dProblem& p) { return Thin<which>(p).packed_floats() * float_bytes; },
          .pack =
              [](const Conv2dProblem& p, const View& w, void* packed) {
                if (w.dtype == DType::bf16)
                  Thin<which>(p).template pack<bf16>(w, static_cast<float*>(packed));
                else
                  Thin<which>(p).template pack<float>(w, static_cast<float*>(packed));
              },
          .scratch_bytes =
              [](const Conv2dProblem& p) {
                const Thin<which> t(p);
                return t.slots * t.slot_floats() * float_bytes;
              },
          .run =
              [](const Conv2dProblem& p, const View& source, const View&, const Conv2dEpilogue& terms,
                 const View& output, const void* packed, void* scratch) {
                Thin<which>(p).run(source, output, {terms.bias, terms.temb, terms.residual},
                                   static_cast<const float*>(packed), static_cast<float*>(scratch));
              }};
}

// dw with the roles of x and dy exchanged: the pixels of x are the grid, and dy is read where the taps,
// reversed, move them.
TapOuter exchanged(const Conv2dProblem& problem, const View& x, const View& dy) {
  const ConvGeometry geometry = geometry_of(problem);
  ConvGeometry back = geometry;
  for (ConvAxis& a : back.axes) {
    std::swap(a.fine, a.coarse);
    a.pad = (a.kernel - 1) * a.dilation - a.pad;
  }
  return outer_product(back, dy, x);
}

TapOuter exchanged(const Conv2dProblem& problem) {
  View x, dy;
  x.shape = {problem.w[2]};
  dy.shape = {problem.w[3]};
  return exchanged(problem, x, dy);
}

template <class T>
void add_pixels(const View& dy, const View& db) {
  const int64_t channels = dy.shape.back(), pixels = dy.numel() / channels;
  const T* from = static_cast<const T*>(dy.pointer);
  // Four pixels at a time, blocks of 1024 in f64: one long chain of f32 would lose digits.
  double total[most_channels] = {};
  for (int64_t block = 0; block < pixels; block += 1024) {
    const int64_t end = std::min(block + 1024, pixels);
    float sums[4][most_channels] = {};
    for (int64_t p = block; p < end; ++p, from += channels)
      for (int64_t j = 0; j < channels; ++j) sums[p % 4][j] += static_cast<float>(from[j]);
    for (int64_t j = 0; j < channels; ++j)
      total[j] += double(sums[0][j] + sums[1][j] + sums[2][j] + sums[3][j]);
  }
  for (int64_t j = 0; j < channels; ++j) static_cast<float*>(db.pointer)[j] = static_cast<float>(total[j]);
}

}  // namespace

const Conv2dImplementation conv2d_thin[2] = {thin<Conv2dPass::forward>(), thin<Conv2dPass::data_gradient>()};

const Conv2dWeightGradient conv2d_thin_weight_gradient = {
    .name = "thin",
    .declines = [](const Conv2dProblem& p) { return declines(p, p.w[3], p.w[2]); },
    .scratch_bytes =
        [](const Conv2dProblem& p) {
          return (round_up(p.w.numel(), 16) + workspace_size(exchanged(p))) * float_bytes;
        },
    .run =
        [](const Conv2dProblem& p, const View& x, const View& dy, const View& dw, const View& db,
           void* scratch) {
          float* gradient = static_cast<float*>(scratch);  // (tap, last first, co, ci)
          TapOuter product = exchanged(p, x, dy);
          product.gradient = gradient;
          run_outer(product, gradient + round_up(p.w.numel(), 16));
          const int64_t taps = p.w[0] * p.w[1], ci = p.w[2], co = p.w[3];
          float* to = static_cast<float*>(dw.pointer);
          for (int64_t tap = 0; tap < taps; ++tap)
            for (int64_t i = 0; i < ci; ++i)
              for (int64_t j = 0; j < co; ++j) *to++ = gradient[((taps - 1 - tap) * co + j) * ci + i];
          if (!db) return;
          if (dy.dtype == DType::bf16)
            add_pixels<bf16>(dy, db);
          else
            add_pixels<float>(dy, db);
        }};

}  // namespace tw::kernels
