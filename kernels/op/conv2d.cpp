#include "kernels/op/conv2d.h"

#include <algorithm>

#include "kernels/cpu/convolution.h"
#include "kernels/op/checks.h"
#include "kernels/op/implementation.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

ConvGeometry geometry_of(const Conv2dParams& p, const Shape& x, const Shape& w) {
  const Shape y = conv2d_output_shape(p, x, w);
  ConvGeometry g;
  g.samples = x[0];
  g.axes[1] = {x[1], y[1], w[0], p.stride_h, p.pad_top, p.dilation_h};
  g.axes[2] = {x[2], y[2], w[1], p.stride_w, p.pad_left, p.dilation_w};
  return g;
}

ConvPass pass_of(const ConvGeometry& geometry, const Shape& w, Conv2dPass pass, const View& weight = {}) {
  const int64_t ci = w[2], co = w[3];
  if (pass == Conv2dPass::forward)
    return {ConvDirection::gather, geometry, ci, co, {weight.pointer, weight.dtype, ci * co, co, 1}};
  return {ConvDirection::scatter, geometry, co, ci, {weight.pointer, weight.dtype, ci * co, 1, co}};
}

// The smallest map that has an output; packed weights do not depend on the map.
Shape smallest_input(const Conv2dParams& p, const Shape& w) {
  return {1, (w.dim(0) - 1) * p.dilation_h + p.stride_h, (w.dim(1) - 1) * p.dilation_w + p.stride_w,
          w.dim(2)};
}

float* floats(const View& view) { return static_cast<float*>(view.pointer); }

void check_weight(const View& w, DType activation, const View& packed) {
  if (!packed) check_dense("conv2d", {"w", w});  // else only its shape counts
  check((w.dtype == DType::f64) == (activation == DType::f64), "conv2d", "w is ", dtype_name(w.dtype),
        ", the activations are ", dtype_name(activation), "; f64 goes with f64 only");
}

void check_term(const char* name, const View& term, const Shape& expected, DType activation) {
  if (!term) return;
  check_dense("conv2d", {name, term});
  check_shape("conv2d", {name, term}, expected);
  check((term.dtype == DType::f64) == (activation == DType::f64), "conv2d", name, " is ",
        dtype_name(term.dtype), ", the activations are ", dtype_name(activation), "; f64 goes with f64 only");
}

void check_gradient(const char* name, const View& gradient, DType activation) {
  check_dense("conv2d", {name, gradient});
  check_dtype("conv2d", {name, gradient}, activation == DType::f64 ? DType::f64 : DType::f32);
}

void check_workspace(const View& workspace, int64_t bytes) {
  if (bytes == 0) return;
  check(workspace.pointer && workspace.device == Device::cpu && workspace.is_contiguous() &&
            workspace.numel() * static_cast<int64_t>(dtype_size(workspace.dtype)) >= bytes,
        "conv2d", "the workspace must be contiguous and hold ", bytes, " bytes, found ", workspace.shape);
}

// Runs an engine pass, packing the weights first unless that has been done.
void run_pass(const ConvPass& pass, const View& source, const View& output, const ConvTerms& terms,
              const View& workspace, const View& packed) {
  float* scratch = floats(workspace);
  const float* panels = floats(packed);
  if (!packed) {
    pass.pack(scratch);
    panels = scratch;
    scratch += pass.packed_size();
  }
  pass.run(source, output, terms, panels, scratch);
}

int64_t workspace_bytes(const ConvPass& pass, bool packed) {
  return (pass.workspace_size() + (packed ? 0 : pass.packed_size())) * static_cast<int64_t>(sizeof(float));
}

const char* not_for_f64(const Conv2dProblem& problem) {
  return problem.dtype == DType::f64 ? "the dtype is f64" : nullptr;
}

const char* always(const Conv2dProblem&) { return nullptr; }

const char* pointwise_declines(const Conv2dProblem& problem) {
  if (const char* reason = not_for_f64(problem)) return reason;
  if (!geometry_of(problem.params, problem.x, problem.w).pointwise())
    return "not 1x1 with stride 1 and no pad";
  return problem.temb ? "a time embedding needs to know the sample of a row" : nullptr;
}

template <bool flat>
ConvGeometry geometry_for(const Conv2dProblem& problem) {
  const ConvGeometry geometry = geometry_of(problem.params, problem.x, problem.w);
  return flat ? flattened(geometry) : geometry;
}

template <bool flat>
void run_forward(const Conv2dProblem& problem, const View& x, const View& w, const Conv2dEpilogue& terms,
                 const View& y, const View& workspace, const View& packed) {
  run_pass(pass_of(geometry_for<flat>(problem), problem.w, Conv2dPass::forward, w), x, y,
           {terms.bias, terms.temb, terms.residual}, workspace, packed);
}

template <bool flat>
void run_data_gradient(const Conv2dProblem& problem, const View& dy, const View& w, const View& dx,
                       const View& workspace, const View& packed) {
  run_pass(pass_of(geometry_for<flat>(problem), problem.w, Conv2dPass::data_gradient, w), dy, dx, {},
           workspace, packed);
}

template <bool flat>
void run_weight_gradient(const Conv2dProblem& problem, const View& x, const View& dy, const View& dw,
                         const View& db, const View& workspace) {
  TapOuter product = outer_product(geometry_for<flat>(problem), x, dy);
  product.gradient = floats(dw);
  product.dense_sum = floats(db);
  run_outer(product, floats(workspace));
}

constexpr Conv2dForward forwards[] = {
    {"gemm_1x1", pointwise_declines, run_forward<true>},
    {"direct", not_for_f64, run_forward<false>},
    {"reference", always,
     [](const Conv2dProblem& problem, const View& x, const View& w, const Conv2dEpilogue& terms,
        const View& y, const View&, const View&) {
       reference_pass(pass_of(geometry_for<false>(problem), problem.w, Conv2dPass::forward, w), x, y,
                      {terms.bias, terms.temb, terms.residual});
     }},
};

constexpr Conv2dDataGradient data_gradients[] = {
    {"gemm_1x1", pointwise_declines, run_data_gradient<true>},
    {"direct", not_for_f64, run_data_gradient<false>},
    {"reference", always,
     [](const Conv2dProblem& problem, const View& dy, const View& w, const View& dx, const View&,
        const View&) {
       reference_pass(pass_of(geometry_for<false>(problem), problem.w, Conv2dPass::data_gradient, w), dy, dx,
                      {});
     }},
};

constexpr Conv2dWeightGradient weight_gradients[] = {
    {"gemm_1x1", pointwise_declines, run_weight_gradient<true>},
    {"direct", not_for_f64, run_weight_gradient<false>},
    {"reference", always,
     [](const Conv2dProblem& problem, const View& x, const View& dy, const View& dw, const View& db,
        const View&) {
       const ConvGeometry geometry = geometry_for<false>(problem);
       reference_outer(geometry, x, dy, true, dw);
       if (db) reference_sum(dy, db);
     }},
};

}  // namespace

Shape conv2d_output_shape(const Conv2dParams& p, const Shape& x, const Shape& w) {
  check(x.rank() == 4, "conv2d", "x must be (n, h, w, ci), found ", x);
  check(w.rank() == 4, "conv2d", "w must be (kh, kw, ci, co), found ", w);
  check(x[3] == w[2], "conv2d", "x ", x, " has ", x[3], " channels, w ", w, " expects ", w[2]);
  check(w[0] >= 1 && w[1] >= 1, "conv2d", "w ", w, " has no taps");
  check(p.stride_h >= 1 && p.stride_w >= 1, "conv2d", "strides must be at least 1, found ", p.stride_h,
        " and ", p.stride_w);
  check(p.dilation_h >= 1 && p.dilation_w >= 1, "conv2d", "dilations must be at least 1, found ",
        p.dilation_h, " and ", p.dilation_w);
  check(p.pad_top >= 0 && p.pad_bottom >= 0 && p.pad_left >= 0 && p.pad_right >= 0, "conv2d",
        "pads must not be negative, found ", p.pad_top, ", ", p.pad_bottom, ", ", p.pad_left, ", ",
        p.pad_right);
  const int64_t h = x[1] + p.pad_top + p.pad_bottom - (w[0] - 1) * p.dilation_h - 1;
  const int64_t v = x[2] + p.pad_left + p.pad_right - (w[1] - 1) * p.dilation_w - 1;
  check(h >= 0 && v >= 0, "conv2d", "w ", w, " with dilation ", p.dilation_h, ", ", p.dilation_w,
        " does not fit into x ", x, " padded to ", x[1] + p.pad_top + p.pad_bottom, " x ",
        x[2] + p.pad_left + p.pad_right);
  const Shape y{x[0], h / p.stride_h + 1, v / p.stride_w + 1, w[3]};
  y.numel();  // throws when it overflows
  return y;
}

int64_t conv2d_packed_size(const Conv2dParams& params, const Shape& w, Conv2dPass pass) {
  return pass_of(geometry_of(params, smallest_input(params, w), w), w, pass).packed_size();
}

void conv2d_pack_weights(const Conv2dParams& params, const View& w, Conv2dPass pass, const View& packed) {
  const OpTimer timer("conv2d_pack_weights", w, packed);
  check_dense("conv2d", {"w", w});
  check(w.dtype != DType::f64, "conv2d", "f64 weights are not packed");
  const ConvPass conv =
      pass_of(geometry_of(params, smallest_input(params, w.shape), w.shape), w.shape, pass, w);
  check_dense("conv2d", {"packed", packed});
  check_shape("conv2d", {"packed", packed}, {conv.packed_size()});
  check_dtype("conv2d", {"packed", packed}, DType::f32);
  conv.pack(floats(packed));
}

int64_t conv2d_forward_workspace_bytes(const Conv2dParams& params, const Shape& x, const Shape& w,
                                       bool packed) {
  return workspace_bytes(pass_of(geometry_of(params, x, w), w, Conv2dPass::forward), packed);
}

int64_t conv2d_data_gradient_workspace_bytes(const Conv2dParams& params, const Shape& x, const Shape& w,
                                             bool packed) {
  return workspace_bytes(pass_of(geometry_of(params, x, w), w, Conv2dPass::data_gradient), packed);
}

int64_t conv2d_weight_gradient_workspace_bytes(const Conv2dParams& params, const Shape& x, const Shape& w) {
  ConvGeometry geometry = geometry_of(params, x, w);
  View fine, coarse;
  fine.shape = {x[3]};
  coarse.shape = {w[3]};
  int64_t size = workspace_size(outer_product(geometry, fine, coarse));
  if (geometry.pointwise())
    size = std::max(size, workspace_size(outer_product(flattened(geometry), fine, coarse)));
  return size * static_cast<int64_t>(sizeof(float));
}

void conv2d_forward(const Conv2dParams& params, const View& x, const View& w, const Conv2dEpilogue& terms,
                    const View& y, const View& workspace, const View& packed) {
  check_dense("conv2d", {"x", x});
  check_weight(w, x.dtype, packed);
  check_dense("conv2d", {"y", y});
  check_shape("conv2d", {"y", y}, conv2d_output_shape(params, x.shape, w.shape));
  check_dtype("conv2d", {"y", y}, x.dtype);
  check_term("bias", terms.bias, {w.shape[3]}, x.dtype);
  check_term("temb", terms.temb, {x.shape[0], w.shape[3]}, x.dtype);
  check_term("residual", terms.residual, y.shape, x.dtype);
  if (x.dtype != DType::f64)
    check_workspace(workspace, conv2d_forward_workspace_bytes(params, x.shape, w.shape, bool(packed)));
  OpTimer timer(
      "conv2d_forward", [&] { return conv2d_flops(params, x.shape, w.shape); }, x, w, terms.residual, y);
  const Conv2dProblem problem{params, x.shape, w.shape, x.dtype, bool(terms.temb)};
  const auto& implementation = choose("conv2d_forward", conv2d_forward_implementations(), problem);
  timer.method(implementation.name);
  implementation.run(problem, x, w, terms, y, workspace, packed);
}

void conv2d_data_gradient(const Conv2dParams& params, const View& dy, const View& w, const View& dx,
                          const View& workspace, const View& packed) {
  check_dense("conv2d", {"dy", dy});
  check_weight(w, dy.dtype, packed);
  check_dense("conv2d", {"dx", dx});
  check_dtype("conv2d", {"dx", dx}, dy.dtype);
  check_shape("conv2d", {"dy", dy}, conv2d_output_shape(params, dx.shape, w.shape));
  if (dy.dtype != DType::f64)
    check_workspace(workspace, conv2d_data_gradient_workspace_bytes(params, dx.shape, w.shape, bool(packed)));
  OpTimer timer(
      "conv2d_data_gradient", [&] { return conv2d_flops(params, dx.shape, w.shape); }, dy, w, dx);
  const Conv2dProblem problem{params, dx.shape, w.shape, dy.dtype, false};
  const auto& implementation =
      choose("conv2d_data_gradient", conv2d_data_gradient_implementations(), problem);
  timer.method(implementation.name);
  implementation.run(problem, dy, w, dx, workspace, packed);
}

void conv2d_weight_gradient(const Conv2dParams& params, const View& x, const View& dy, const View& dw,
                            const View& db, const View& workspace) {
  check_dense("conv2d", {"x", x});
  check_dense("conv2d", {"dy", dy});
  check_dtype("conv2d", {"dy", dy}, x.dtype);
  check_gradient("dw", dw, x.dtype);
  check_shape("conv2d", {"dy", dy}, conv2d_output_shape(params, x.shape, dw.shape));
  if (db) check_gradient("db", db, x.dtype);
  if (db) check_shape("conv2d", {"db", db}, {dw.shape[3]});
  if (x.dtype != DType::f64)
    check_workspace(workspace, conv2d_weight_gradient_workspace_bytes(params, x.shape, dw.shape));
  OpTimer timer(
      "conv2d_weight_gradient", [&] { return conv2d_flops(params, x.shape, dw.shape); }, x, dw, dy);
  const Conv2dProblem problem{params, x.shape, dw.shape, x.dtype, false};
  const auto& implementation =
      choose("conv2d_weight_gradient", conv2d_weight_gradient_implementations(), problem);
  timer.method(implementation.name);
  implementation.run(problem, x, dy, dw, db, workspace);
}

std::span<const Conv2dForward> conv2d_forward_implementations() { return forwards; }
std::span<const Conv2dDataGradient> conv2d_data_gradient_implementations() { return data_gradients; }
std::span<const Conv2dWeightGradient> conv2d_weight_gradient_implementations() { return weight_gradients; }

double conv2d_flops(const Conv2dParams& params, const Shape& x, const Shape& w) {
  return 2.0 * static_cast<double>(conv2d_output_shape(params, x, w).numel()) *
         static_cast<double>(w[0] * w[1] * w[2]);
}

}  // namespace tw::kernels
