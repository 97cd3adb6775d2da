#include "kernels/op/conv2d.h"

#include <cstddef>

#include "kernels/cpu/conv2d.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/implementation.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

void check_weight(const View& w, DType activation, const View& packed, Device device) {
  if (!packed) check_dense("conv2d", {"w", w}, device);  // else only its shape counts
  check((w.dtype == DType::f64) == (activation == DType::f64), "conv2d", "w is ", dtype_name(w.dtype),
        ", the activations are ", dtype_name(activation), "; f64 goes with f64 only");
}

void check_term(const char* name, const View& term, const Shape& expected, const View& x) {
  if (!term) return;
  const DType activation = x.dtype;
  check_dense("conv2d", {name, term}, x.device);
  check_shape("conv2d", {name, term}, expected);
  check((term.dtype == DType::f64) == (activation == DType::f64), "conv2d", name, " is ",
        dtype_name(term.dtype), ", the activations are ", dtype_name(activation), "; f64 goes with f64 only");
}

void check_gradient(const char* name, const View& gradient, const View& x) {
  const DType activation = x.dtype;
  check_dense("conv2d", {name, gradient}, x.device);
  check_dtype("conv2d", {name, gradient}, activation == DType::f64 ? DType::f64 : DType::f32);
}

void check_workspace(const char* name, const View& workspace, int64_t bytes, Device device = Device::cpu) {
  if (bytes == 0) return;
  check(workspace.pointer && workspace.device == device && workspace.is_contiguous() &&
            workspace.numel() * static_cast<int64_t>(dtype_size(workspace.dtype)) >= bytes,
        "conv2d", name, " must be contiguous and hold ", bytes, " bytes, found ", workspace.shape);
}

// The weights of a call: as given, else packed into the front of the workspace.
struct Call {
  const void* packed;
  void* scratch;
};

Call prepare(const Conv2dImplementation& implementation, const Conv2dProblem& problem, const View& w,
             const View& workspace, const View& packed) {
  check_workspace(
      "workspace", workspace,
      (packed ? 0 : implementation.packed_bytes(problem)) + implementation.scratch_bytes(problem));
  if (packed) return {packed.pointer, workspace.pointer};
  implementation.pack(problem, w, workspace.pointer);
  return {workspace.pointer,
          static_cast<std::byte*>(workspace.pointer) + implementation.packed_bytes(problem)};
}

// On CUDA the weights of all passes are packed alike, as cuDNN reads them: (co, kh, kw, ci) in the
// activations' type. A convolution of one tap is a product with the weight as it is.
int64_t packed_bytes_on_cuda(const Conv2dProblem& problem) {
  const Conv2dParams& p = problem.params;
  const bool product = problem.w[0] == 1 && problem.w[1] == 1 && p.stride_h == 1 && p.stride_w == 1 &&
                       p.pad_top == 0 && p.pad_bottom == 0 && p.pad_left == 0 && p.pad_right == 0;
  return product ? 0 : problem.w.numel() * static_cast<int64_t>(dtype_size(problem.dtype));
}

// Weights that are packed as 0 bytes are as good as none.
View on_cuda(const View& packed) { return packed.numel() > 0 ? packed : View{}; }

int64_t workspace_bytes(const Conv2dProblem& problem, Conv2dPass pass, bool packed) {
  if (problem.device == Device::cuda) return 0;
  const Conv2dImplementation& implementation = conv2d_implementation(problem, pass);
  return (packed ? 0 : implementation.packed_bytes(problem)) + implementation.scratch_bytes(problem);
}

const char* op_name(Conv2dPass pass) {
  return pass == Conv2dPass::forward ? "conv2d_forward" : "conv2d_data_gradient";
}

const Conv2dImplementation forwards[] = {conv2d_bf16_dot[0], conv2d_pointwise[0], conv2d_thin[0],
                                         conv2d_winograd[0], conv2d_direct[0],    conv2d_reference[0]};
const Conv2dImplementation data_gradients[] = {conv2d_bf16_dot[1], conv2d_pointwise[1], conv2d_thin[1],
                                               conv2d_winograd[1], conv2d_direct[1],    conv2d_reference[1]};
const Conv2dWeightGradient weight_gradients[] = {
    conv2d_bf16_dot_weight_gradient, conv2d_pointwise_weight_gradient, conv2d_thin_weight_gradient,
    conv2d_winograd_weight_gradient, conv2d_direct_weight_gradient,    conv2d_reference_weight_gradient};

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

int64_t conv2d_packed_bytes(const Conv2dProblem& problem, Conv2dPass pass) {
  if (problem.device == Device::cuda) return packed_bytes_on_cuda(problem);
  return conv2d_implementation(problem, pass).packed_bytes(problem);
}

void conv2d_pack_weights(const Conv2dProblem& problem, const View& w, Conv2dPass pass, const View& packed) {
  const OpTimer timer("conv2d_pack_weights", w, packed);
  if (problem.device == Device::cuda) {
    check_dense("conv2d", {"w", w}, Device::cuda);
    check_workspace("packed", packed, packed_bytes_on_cuda(problem), Device::cuda);
    if (packed.numel() > 0) cuda::call("tw_cuda_conv2d_pack", w, static_cast<int>(problem.dtype), packed);
    return;
  }
  check_dense("conv2d", {"w", w});
  check_shape("conv2d", {"w", w}, problem.w);
  const Conv2dImplementation& implementation = conv2d_implementation(problem, pass);
  check_workspace("packed", packed, implementation.packed_bytes(problem));
  implementation.pack(problem, w, packed.pointer);
}

int64_t conv2d_forward_workspace_bytes(const Conv2dProblem& problem, bool packed) {
  return workspace_bytes(problem, Conv2dPass::forward, packed);
}

int64_t conv2d_data_gradient_workspace_bytes(const Conv2dProblem& problem, bool packed) {
  return workspace_bytes(problem, Conv2dPass::data_gradient, packed);
}

int64_t conv2d_weight_gradient_workspace_bytes(const Conv2dProblem& problem) {
  if (problem.device == Device::cuda) return 0;
  return choose("conv2d_weight_gradient", conv2d_weight_gradient_implementations(), problem)
      .scratch_bytes(problem);
}

void conv2d_forward(const Conv2dParams& params, const View& x, const View& w, const Conv2dEpilogue& terms,
                    const View& y, const View& workspace, const View& packed) {
  const Device device = device_of("conv2d", {{"x", x},
                                             {"w", packed ? packed : w},
                                             {"bias", terms.bias},
                                             {"temb", terms.temb},
                                             {"residual", terms.residual},
                                             {"y", y}});
  check_dense("conv2d", {"x", x}, device);
  check_weight(w, x.dtype, packed, device);
  check_dense("conv2d", {"y", y}, device);
  check_shape("conv2d", {"y", y}, conv2d_output_shape(params, x.shape, w.shape));
  check_dtype("conv2d", {"y", y}, x.dtype);
  check_term("bias", terms.bias, {w.shape[3]}, x);
  check_term("temb", terms.temb, {x.shape[0], w.shape[3]}, x);
  check_term("residual", terms.residual, y.shape, x);
  OpTimer timer(
      "conv2d_forward", [&] { return conv2d_flops(params, x.shape, w.shape); }, x, w, terms.residual, y);
  if (device == Device::cuda) {
    timer.method("cuda");
    return cuda::call("tw_cuda_conv2d_forward", params, x, w, terms, y, on_cuda(packed));
  }
  const Conv2dProblem problem{params, x.shape, w.shape, x.dtype, bool(terms.temb)};
  const Conv2dImplementation& implementation = conv2d_implementation(problem, Conv2dPass::forward);
  timer.method(implementation.name);
  const Call call = prepare(implementation, problem, w, workspace, packed);
  implementation.run(problem, x, w, terms, y, call.packed, call.scratch);
}

void conv2d_data_gradient(const Conv2dParams& params, const View& dy, const View& w, const View& dx,
                          const View& workspace, const View& packed) {
  const Device device = device_of("conv2d", {{"dy", dy}, {"w", packed ? packed : w}, {"dx", dx}});
  check_dense("conv2d", {"dy", dy}, device);
  check_weight(w, dy.dtype, packed, device);
  check_dense("conv2d", {"dx", dx}, device);
  check_dtype("conv2d", {"dx", dx}, dy.dtype);
  check_shape("conv2d", {"dy", dy}, conv2d_output_shape(params, dx.shape, w.shape));
  OpTimer timer(
      "conv2d_data_gradient", [&] { return conv2d_flops(params, dx.shape, w.shape); }, dy, w, dx);
  if (device == Device::cuda) {
    timer.method("cuda");
    return cuda::call("tw_cuda_conv2d_data_gradient", params, dy, w, dx, on_cuda(packed));
  }
  const Conv2dProblem problem{params, dx.shape, w.shape, dy.dtype, false};
  const Conv2dImplementation& implementation = conv2d_implementation(problem, Conv2dPass::data_gradient);
  timer.method(implementation.name);
  const Call call = prepare(implementation, problem, w, workspace, packed);
  implementation.run(problem, dy, w, {}, dx, call.packed, call.scratch);
}

void conv2d_weight_gradient(const Conv2dParams& params, const View& x, const View& dy, const View& dw,
                            const View& db, const View& workspace) {
  const Device device = device_of("conv2d", {{"x", x}, {"dy", dy}, {"dw", dw}, {"db", db}});
  check_dense("conv2d", {"x", x}, device);
  check_dense("conv2d", {"dy", dy}, device);
  check_dtype("conv2d", {"dy", dy}, x.dtype);
  check_gradient("dw", dw, x);
  check_shape("conv2d", {"dy", dy}, conv2d_output_shape(params, x.shape, dw.shape));
  if (db) check_gradient("db", db, x);
  if (db) check_shape("conv2d", {"db", db}, {dw.shape[3]});
  OpTimer timer(
      "conv2d_weight_gradient", [&] { return conv2d_flops(params, x.shape, dw.shape); }, x, dw, dy);
  if (device == Device::cuda) {
    timer.method("cuda");
    return cuda::call("tw_cuda_conv2d_weight_gradient", params, x, dy, dw, db);
  }
  const Conv2dProblem problem{params, x.shape, dw.shape, x.dtype, false};
  const auto& implementation =
      choose("conv2d_weight_gradient", conv2d_weight_gradient_implementations(), problem);
  timer.method(implementation.name);
  check_workspace("workspace", workspace, implementation.scratch_bytes(problem));
  implementation.run(problem, x, dy, dw, db, workspace.pointer);
}

std::span<const Conv2dImplementation> conv2d_implementations(Conv2dPass pass) {
  if (pass == Conv2dPass::forward) return forwards;
  return data_gradients;
}
std::span<const Conv2dWeightGradient> conv2d_weight_gradient_implementations() { return weight_gradients; }

const Conv2dImplementation& conv2d_implementation(const Conv2dProblem& problem, Conv2dPass pass) {
  return choose(op_name(pass), conv2d_implementations(pass), problem);
}

double conv2d_flops(const Conv2dParams& params, const Shape& x, const Shape& w) {
  return 2.0 * static_cast<double>(conv2d_output_shape(params, x, w).numel()) *
         static_cast<double>(w[0] * w[1] * w[2]);
}

}  // namespace tw::kernels
