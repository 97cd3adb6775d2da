// Convolution on the matrix engines (cpu/convolution.h): as one matrix product where it is pointwise, else
// with a gathered source row for every tap; and the definition in plain loops, which is the implementation of
// f64.
#include "kernels/cpu/conv2d.h"
#include "kernels/cpu/outer_bf16.h"

namespace tw::kernels {

ConvGeometry geometry_of(const Conv2dProblem& problem) {
  const Conv2dParams& p = problem.params;
  const Shape &x = problem.x, &w = problem.w, y = conv2d_output_shape(p, x, w);
  ConvGeometry g;
  g.samples = x[0];
  g.axes[1] = {x[1], y[1], w[0], p.stride_h, p.pad_top, p.dilation_h};
  g.axes[2] = {x[2], y[2], w[1], p.stride_w, p.pad_left, p.dilation_w};
  return g;
}

namespace {

template <bool flat>
ConvGeometry geometry_for(const Conv2dProblem& problem) {
  const ConvGeometry geometry = geometry_of(problem);
  return flat ? flattened(geometry) : geometry;
}

template <bool flat, Conv2dPass which, bool dot = false>
ConvPass pass_of(const Conv2dProblem& problem, const View& weight = {}) {
  const int64_t ci = problem.w[2], co = problem.w[3];
  const ConvGeometry geometry = geometry_for<flat>(problem);
  if (which == Conv2dPass::forward)
    return {ConvDirection::gather, geometry, ci, co, {weight.pointer, weight.dtype, ci * co, co, 1}, dot};
  return {ConvDirection::scatter, geometry, co, ci, {weight.pointer, weight.dtype, ci * co, 1, co}, dot};
}

int64_t bytes_of(int64_t floats) { return floats * static_cast<int64_t>(sizeof(float)); }

const char* not_for_f64(const Conv2dProblem& problem) {
  return problem.dtype == DType::f64 ? "the dtype is f64" : nullptr;
}

const char* always(const Conv2dProblem&) { return nullptr; }

const char* pointwise_declines(const Conv2dProblem& problem) {
  if (const char* reason = not_for_f64(problem)) return reason;
  if (!geometry_of(problem).pointwise()) return "not 1x1 with stride 1 and no pad";
  return problem.temb ? "a time embedding needs to know the sample of a row" : nullptr;
}

template <Conv2dPass which>
const char* dot_declines(const Conv2dProblem& problem) {
  if (problem.dtype != DType::bf16) return "the activations are not bf16";
  return pass_of<false, which>(problem).dot_declines();
}

template <bool flat, Conv2dPass which, bool dot = false>
constexpr Conv2dImplementation engine(const char* name, const char* (*declines)(const Conv2dProblem&)) {
  return {.name = name,
          .declines = declines,
          .packed_bytes =
              [](const Conv2dProblem& p) { return bytes_of(pass_of<flat, which, dot>(p).packed_size()); },
          .pack = [](const Conv2dProblem& p, const View& w,
                     void* packed) { pass_of<flat, which, dot>(p, w).pack(static_cast<float*>(packed)); },
          .scratch_bytes =
              [](const Conv2dProblem& p) { return bytes_of(pass_of<flat, which, dot>(p).workspace_size()); },
          .run =
              [](const Conv2dProblem& p, const View& source, const View&, const Conv2dEpilogue& terms,
                 const View& output, const void* packed, void* scratch) {
                pass_of<flat, which, dot>(p).run(source, output, {terms.bias, terms.temb, terms.residual},
                                                 static_cast<const float*>(packed),
                                                 static_cast<float*>(scratch));
              }};
}

template <Conv2dPass which>
constexpr Conv2dImplementation definition() {
  return {.name = "reference",
          .declines = always,
          .packed_bytes = [](const Conv2dProblem&) { return int64_t{0}; },
          .pack = [](const Conv2dProblem&, const View&, void*) {},
          .scratch_bytes = [](const Conv2dProblem&) { return int64_t{0}; },
          .run =
              [](const Conv2dProblem& p, const View& source, const View& w, const Conv2dEpilogue& terms,
                 const View& output, const void*, void*) {
                reference_pass(pass_of<false, which>(p, w), source, output,
                               {terms.bias, terms.temb, terms.residual});
              }};
}

template <bool flat>
constexpr Conv2dWeightGradient outer(const char* name, const char* (*declines)(const Conv2dProblem&)) {
  return {.name = name,
          .declines = declines,
          .scratch_bytes =
              [](const Conv2dProblem& p) {
                View fine, coarse;
                fine.shape = {p.x[3]};
                coarse.shape = {p.w[3]};
                return bytes_of(workspace_size(outer_product(geometry_for<flat>(p), fine, coarse)));
              },
          .run =
              [](const Conv2dProblem& p, const View& x, const View& dy, const View& dw, const View& db,
                 void* scratch) {
                TapOuter product = outer_product(geometry_for<flat>(p), x, dy);
                product.gradient = static_cast<float*>(dw.pointer);
                product.dense_sum = static_cast<float*>(db.pointer);
                run_outer(product, static_cast<float*>(scratch));
              }};
}

// The weight gradient's operands without their data.
TapOuter bf16_outer(const Conv2dProblem& problem) {
  View fine, coarse;
  fine.shape = {problem.x[3]};
  coarse.shape = {problem.w[3]};
  fine.dtype = coarse.dtype = problem.dtype;
  return outer_product(geometry_of(problem), fine, coarse);
}

}  // namespace

constexpr auto forward = Conv2dPass::forward, data_gradient = Conv2dPass::data_gradient;
const Conv2dImplementation conv2d_bf16_dot[2] = {
    engine<false, forward, true>("bf16_dot", dot_declines<forward>),
    engine<false, data_gradient, true>("bf16_dot", dot_declines<data_gradient>)};
const Conv2dImplementation conv2d_pointwise[2] = {
    engine<true, forward>("gemm_1x1", pointwise_declines),
    engine<true, data_gradient>("gemm_1x1", pointwise_declines)};
const Conv2dImplementation conv2d_direct[2] = {engine<false, forward>("direct", not_for_f64),
                                               engine<false, data_gradient>("direct", not_for_f64)};
const Conv2dImplementation conv2d_reference[2] = {definition<forward>(), definition<data_gradient>()};

const Conv2dWeightGradient conv2d_bf16_dot_weight_gradient = {
    .name = "bf16_dot",
    .declines = [](const Conv2dProblem& p) { return bf16_outer_declines(bf16_outer(p)); },
    .scratch_bytes =
        [](const Conv2dProblem& p) { return bytes_of(bf16_outer_workspace_size(bf16_outer(p))); },
    .run =
        [](const Conv2dProblem& p, const View& x, const View& dy, const View& dw, const View& db,
           void* scratch) {
          TapOuter product = outer_product(geometry_of(p), x, dy);
          product.gradient = static_cast<float*>(dw.pointer);
          product.dense_sum = static_cast<float*>(db.pointer);
          run_bf16_outer(product, static_cast<float*>(scratch));
        }};
const Conv2dWeightGradient conv2d_pointwise_weight_gradient = outer<true>("gemm_1x1", pointwise_declines);
const Conv2dWeightGradient conv2d_direct_weight_gradient = outer<false>("direct", not_for_f64);
const Conv2dWeightGradient conv2d_reference_weight_gradient = {
    .name = "reference",
    .declines = always,
    .scratch_bytes = [](const Conv2dProblem&) { return int64_t{0}; },
    .run =
        [](const Conv2dProblem& p, const View& x, const View& dy, const View& dw, const View& db, void*) {
          reference_outer(geometry_of(p), x, dy, true, dw);
          if (db) reference_sum(dy, db);
        }};

}  // namespace tw::kernels
