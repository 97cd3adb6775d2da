// 3x3 convolution with stride 1 by Winograd F(4x4, 3x3) (cpu/winograd.h): the forward pass, the data gradient
// as a forward pass over dy with the kernel turned round, and the weight gradient as F(3x3, 4x4).
//
// Whether it pays is counted in multiply-adds: four times fewer of them against the transforms. Forward and
// data gradient count one image, so that the choice is the same in every batch; the weight gradient sums over
// the batch and counts all of it.
#include "kernels/cpu/conv2d.h"
#include "kernels/cpu/exact.h"
#include "kernels/cpu/rounding.h"
#include "kernels/cpu/winograd.h"

namespace tw::kernels {
namespace {

// What a machine does in the time that a byte of weights takes from memory: 2 (Zen 4) to 6 (Emerald Rapids).
constexpr double multiply_adds_per_byte = 4;
// Measured: a tile's input and output transforms, in multiply-adds a channel, and a weight's in
// multiply-adds.
constexpr double input_transform = 440, output_transform = 380, weight_transform = 100;

template <Conv2dPass which>
WinogradConv conv_of(const Conv2dProblem& problem) {
  const Conv2dParams& p = problem.params;
  const Shape &x = problem.x, &w = problem.w, y = conv2d_output_shape(p, x, w);
  WinogradConv g;
  g.samples = x[0];
  const bool forward = which == Conv2dPass::forward;
  const Shape &source = forward ? x : y, &output = forward ? y : x;
  g.source_h = source[1];
  g.source_w = source[2];
  g.depth = source[3];
  g.output_h = output[1];
  g.output_w = output[2];
  g.channels = output[3];
  g.pad_top = forward ? p.pad_top : 2 - p.pad_top;
  g.pad_left = forward ? p.pad_left : 2 - p.pad_left;
  g.dtype = problem.dtype;
  return g;
}

template <Conv2dPass which>
WinogradWeight weight_of(const View& w) {
  const int64_t ci = w.shape[2], co = w.shape[3];
  if (which == Conv2dPass::forward) return {w.pointer, w.dtype, 3 * ci * co, ci * co, co, 1};
  const auto last_tap = 8 * ci * co * static_cast<int64_t>(dtype_size(w.dtype));
  return {static_cast<const char*>(w.pointer) + last_tap, w.dtype, -3 * ci * co, -ci * co, 1, co};
}

const char* unsuitable(const Conv2dProblem& problem) {
  const Conv2dParams& p = problem.params;
  if (problem.dtype == DType::f64) return "the dtype is f64";
  if (problem.w[0] != 3 || problem.w[1] != 3) return "the kernel is not 3x3";
  if (p.stride_h != 1 || p.stride_w != 1) return "the stride is not 1";
  if (p.dilation_h != 1 || p.dilation_w != 1) return "the dilation is not 1";
  if (exact()) return "exact results are asked for";
  return nullptr;
}

// In multiply-adds: of the products and transforms of `tiles` tiles.
double products_of(const WinogradConv& g, double tiles) {
  const auto depth = static_cast<double>(g.depth), channels = static_cast<double>(g.channels);
  return winograd_points * tiles * depth * channels +
         tiles * (input_transform * depth + output_transform * channels);
}

template <Conv2dPass which>
const char* declines(const Conv2dProblem& problem) {
  if (const char* reason = unsuitable(problem)) return reason;
  const WinogradConv g = conv_of<which>(problem);
  const double pairs = static_cast<double>(g.depth * g.channels);
  // One reading of the weights must serve some tiles; four are the least that the kernel multiplies at once.
  const double tiles = static_cast<double>(round_up(g.tile_rows() * g.tile_columns(), 4));
  const double direct = 9 * pairs * static_cast<double>(g.output_h * g.output_w);
  const double winograd = products_of(g, tiles) + weight_transform * pairs;
  return winograd < direct ? nullptr : "too small a map or too few channels";
}

// The sums of a row of points are written, read and added: 18 numbers a pair of channels, twice.
const char* gradient_declines(const Conv2dProblem& problem) {
  if (const char* reason = unsuitable(problem)) return reason;
  const WinogradConv g = conv_of<Conv2dPass::forward>(problem);
  const double pairs = static_cast<double>(g.depth * g.channels);
  const double direct = 9 * pairs * static_cast<double>(g.samples * g.output_h * g.output_w);
  const double winograd =
      products_of(g, static_cast<double>(g.tiles())) + 36 * pairs * sizeof(float) * multiply_adds_per_byte;
  return winograd < direct ? nullptr : "too few pixels or channels";
}

int64_t bytes_of(int64_t floats) { return floats * static_cast<int64_t>(sizeof(float)); }

template <Conv2dPass which>
constexpr Conv2dImplementation winograd() {
  return {.name = "winograd",
          .declines = declines<which>,
          .packed_bytes = [](const Conv2dProblem& p) { return bytes_of(packed_size(conv_of<which>(p))); },
          .pack =
              [](const Conv2dProblem& p, const View& w, void* packed) {
                pack_weights(conv_of<which>(p), weight_of<which>(w), static_cast<float*>(packed));
              },
          .scratch_bytes = [](const Conv2dProblem& p) { return bytes_of(workspace_size(conv_of<which>(p))); },
          .run =
              [](const Conv2dProblem& p, const View& source, const View&, const Conv2dEpilogue& terms,
                 const View& output, const void* packed, void* scratch) {
                WinogradConv g = conv_of<which>(p);
                g.source = source.pointer;
                g.output = output.pointer;
                g.panels = static_cast<const float*>(packed);
                g.bias = terms.bias;
                g.temb = terms.temb;
                g.residual = terms.residual;
                run_winograd(g, static_cast<float*>(scratch));
              }};
}

}  // namespace

const Conv2dImplementation conv2d_winograd[2] = {winograd<Conv2dPass::forward>(),
                                                 winograd<Conv2dPass::data_gradient>()};

const Conv2dWeightGradient conv2d_winograd_weight_gradient = {
    .name = "winograd",
    .declines = gradient_declines,
    .scratch_bytes =
        [](const Conv2dProblem& p) {
          return bytes_of(gradient_workspace_size(conv_of<Conv2dPass::forward>(p)));
        },
    .run =
        [](const Conv2dProblem& p, const View& x, const View& dy, const View& dw, const View& db,
           void* scratch) {
          WinogradGradient g{.conv = conv_of<Conv2dPass::forward>(p)};
          g.conv.source = x.pointer;
          g.dy = dy.pointer;
          g.dw = static_cast<float*>(dw.pointer);
          g.db = static_cast<float*>(db.pointer);
          run_winograd_gradient(g, static_cast<float*>(scratch));
        }};

}  // namespace tw::kernels
