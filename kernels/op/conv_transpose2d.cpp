#include "kernels/op/conv_transpose2d.h"

#include <algorithm>

#include "kernels/cpu/convolution.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

ConvGeometry geometry_of(const ConvTranspose2dParams& p, const Shape& x, const Shape& w) {
  const Shape y = conv_transpose2d_output_shape(p, x, w);
  ConvGeometry g;
  g.samples = x[0];
  g.axes[1] = {y[1], x[1], w[0], p.stride_h, p.pad_top, p.dilation_h};
  g.axes[2] = {y[2], x[2], w[1], p.stride_w, p.pad_left, p.dilation_w};
  return g;
}

ConvPass forward_pass(const ConvTranspose2dParams& p, const Shape& x, const Shape& w, const View& weight) {
  return {ConvDirection::scatter,
          geometry_of(p, x, w),
          w[2],
          w[3],
          {weight.pointer, weight.dtype, w[2] * w[3], w[3], 1}};
}

ConvPass data_pass(const ConvTranspose2dParams& p, const Shape& x, const Shape& w, const View& weight) {
  return {ConvDirection::gather,
          geometry_of(p, x, w),
          w[3],
          w[2],
          {weight.pointer, weight.dtype, w[2] * w[3], 1, w[3]}};
}

void check_pair(const char* name, const View& v, DType with, Device device) {
  check_dense("conv_transpose2d", {name, v}, device);
  check((v.dtype == DType::f64) == (with == DType::f64), "conv_transpose2d", name, " is ",
        dtype_name(v.dtype), ", the activations are ", dtype_name(with), "; f64 goes with f64 only");
}

// Multiply-adds times two of any pass: each input is added to the taps and channels that it reaches.
double flops_of(const View& x, const View& w) {
  return 2.0 * static_cast<double>(x.numel()) *
         static_cast<double>(w.numel() / std::max<int64_t>(1, w.dim(2)));
}

}  // namespace

Shape conv_transpose2d_output_shape(const ConvTranspose2dParams& p, const Shape& x, const Shape& w) {
  check(x.rank() == 4, "conv_transpose2d", "x must be (n, h, w, ci), found ", x);
  check(w.rank() == 4, "conv_transpose2d", "w must be (kh, kw, ci, co), found ", w);
  check(x[3] == w[2], "conv_transpose2d", "x ", x, " has ", x[3], " channels, w ", w, " expects ", w[2]);
  check(
      w[0] >= 1 && w[1] >= 1 && p.stride_h >= 1 && p.stride_w >= 1 && p.dilation_h >= 1 && p.dilation_w >= 1,
      "conv_transpose2d", "taps, strides and dilations must be at least 1");
  check(p.pad_top >= 0 && p.pad_bottom >= 0 && p.pad_left >= 0 && p.pad_right >= 0, "conv_transpose2d",
        "pads must not be negative");
  check(p.output_pad_h >= 0 && p.output_pad_h < p.stride_h && p.output_pad_w >= 0 &&
            p.output_pad_w < p.stride_w,
        "conv_transpose2d", "output pads must be from 0 to below the stride, found ", p.output_pad_h, " and ",
        p.output_pad_w);
  const int64_t h =
      (x[1] - 1) * p.stride_h - p.pad_top - p.pad_bottom + p.dilation_h * (w[0] - 1) + 1 + p.output_pad_h;
  const int64_t v =
      (x[2] - 1) * p.stride_w - p.pad_left - p.pad_right + p.dilation_w * (w[1] - 1) + 1 + p.output_pad_w;
  check(h >= 1 && v >= 1, "conv_transpose2d", "the pads leave nothing of the result: ", h, " x ", v);
  const Shape y{x[0], h, v, w[3]};
  y.numel();  // throws when it overflows
  return y;
}

int64_t conv_transpose2d_forward_workspace_bytes(const ConvTranspose2dParams& params, const Shape& x,
                                                 const Shape& w) {
  return pass_workspace_bytes(forward_pass(params, x, w, {}));
}

int64_t conv_transpose2d_data_gradient_workspace_bytes(const ConvTranspose2dParams& params, const Shape& x,
                                                       const Shape& w) {
  return pass_workspace_bytes(data_pass(params, x, w, {}));
}

int64_t conv_transpose2d_weight_gradient_workspace_bytes(const ConvTranspose2dParams& params, const Shape& x,
                                                         const Shape& w) {
  return outer_workspace_bytes(geometry_of(params, x, w), w[3], w[2], false);
}

void conv_transpose2d_forward(const ConvTranspose2dParams& params, const View& x, const View& w,
                              const View& bias, const View& y, const View& workspace) {
  const Device device = device_of("conv_transpose2d", {{"x", x}, {"w", w}, {"bias", bias}, {"y", y}});
  check_dense("conv_transpose2d", {"x", x}, device);
  check_pair("w", w, x.dtype, device);
  check_dense("conv_transpose2d", {"y", y}, device);
  check_dtype("conv_transpose2d", {"y", y}, x.dtype);
  check_shape("conv_transpose2d", {"y", y}, conv_transpose2d_output_shape(params, x.shape, w.shape));
  if (bias) check_pair("bias", bias, x.dtype, device);
  if (bias) check_shape("conv_transpose2d", {"bias", bias}, {w.shape.back()});
  const OpTimer timer(
      "conv_transpose2d_forward", [&] { return flops_of(x, w); }, x, w, y);
  if (device == Device::cuda) return cuda::call("tw_cuda_conv_transpose2d_forward", params, x, w, bias, y);
  run_pass("conv_transpose2d", forward_pass(params, x.shape, w.shape, w), x, y, {bias, {}, {}}, workspace);
}

void conv_transpose2d_data_gradient(const ConvTranspose2dParams& params, const View& dy, const View& w,
                                    const View& dx, const View& workspace) {
  const Device device = device_of("conv_transpose2d", {{"dy", dy}, {"w", w}, {"dx", dx}});
  check_dense("conv_transpose2d", {"dy", dy}, device);
  check_pair("w", w, dy.dtype, device);
  check_dense("conv_transpose2d", {"dx", dx}, device);
  check_dtype("conv_transpose2d", {"dx", dx}, dy.dtype);
  check_shape("conv_transpose2d", {"dy", dy}, conv_transpose2d_output_shape(params, dx.shape, w.shape));
  const OpTimer timer(
      "conv_transpose2d_data_gradient", [&] { return flops_of(dx, w); }, dy, w, dx);
  if (device == Device::cuda) return cuda::call("tw_cuda_conv_transpose2d_data_gradient", params, dy, w, dx);
  run_pass("conv_transpose2d", data_pass(params, dx.shape, w.shape, w), dy, dx, {}, workspace);
}

void conv_transpose2d_weight_gradient(const ConvTranspose2dParams& params, const View& x, const View& dy,
                                      const View& dw, const View& workspace) {
  const Device device = device_of("conv_transpose2d", {{"x", x}, {"dy", dy}, {"dw", dw}});
  check_dense("conv_transpose2d", {"x", x}, device);
  check_dense("conv_transpose2d", {"dy", dy}, device);
  check_dtype("conv_transpose2d", {"dy", dy}, x.dtype);
  check_dense("conv_transpose2d", {"dw", dw}, device);
  check_dtype("conv_transpose2d", {"dw", dw}, x.dtype == DType::f64 ? DType::f64 : DType::f32);
  check_shape("conv_transpose2d", {"dy", dy}, conv_transpose2d_output_shape(params, x.shape, dw.shape));
  const OpTimer timer(
      "conv_transpose2d_weight_gradient", [&] { return flops_of(x, dw); }, x, dw, dy);
  if (device == Device::cuda)
    return cuda::call("tw_cuda_conv_transpose2d_weight_gradient", params, x, dy, dw);
  run_outer("conv_transpose2d", geometry_of(params, x.shape, dw.shape), dy, x, false, dw, workspace);
}

}  // namespace tw::kernels
