#include "kernels/op/conv3d.h"

#include <algorithm>

#include "kernels/cpu/convolution.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

ConvGeometry geometry_of(const Conv3dParams& p, const Shape& x, const Shape& w) {
  const Shape y = conv3d_output_shape(p, x, w);
  ConvGeometry g;
  g.samples = x[0];
  for (int i = 0; i < 3; ++i)
    g.axes[i] = {x[i + 1], y[i + 1], w[i], p.stride[i], p.pad_before[i], p.dilation[i]};
  return g;
}

ConvPass forward_pass(const Conv3dParams& p, const Shape& x, const Shape& w, const View& weight) {
  return {ConvDirection::gather,
          geometry_of(p, x, w),
          w[3],
          w[4],
          {weight.pointer, weight.dtype, w[3] * w[4], w[4], 1}};
}

ConvPass data_pass(const Conv3dParams& p, const Shape& x, const Shape& w, const View& weight) {
  return {ConvDirection::scatter,
          geometry_of(p, x, w),
          w[4],
          w[3],
          {weight.pointer, weight.dtype, w[3] * w[4], 1, w[4]}};
}

void check_pair(const char* name, const View& v, DType with, Device device) {
  check_dense("conv3d", {name, v}, device);
  check((v.dtype == DType::f64) == (with == DType::f64), "conv3d", name, " is ", dtype_name(v.dtype),
        ", the activations are ", dtype_name(with), "; f64 goes with f64 only");
}

// Multiply-adds times two of any pass: each output is a sum over the taps and input channels.
double flops_of(const View& y, const View& w) {
  return 2.0 * static_cast<double>(y.numel()) *
         static_cast<double>(w.numel() / std::max<int64_t>(1, w.dim(4)));
}

}  // namespace

Shape conv3d_output_shape(const Conv3dParams& p, const Shape& x, const Shape& w) {
  check(x.rank() == 5, "conv3d", "x must be (n, d, h, w, ci), found ", x);
  check(w.rank() == 5, "conv3d", "w must be (kd, kh, kw, ci, co), found ", w);
  check(x[4] == w[3], "conv3d", "x ", x, " has ", x[4], " channels, w ", w, " expects ", w[3]);
  Shape y = x.with(4, w[4]);
  for (int i = 0; i < 3; ++i) {
    check(w[i] >= 1 && p.stride[i] >= 1 && p.dilation[i] >= 1 && p.pad_before[i] >= 0 && p.pad_after[i] >= 0,
          "conv3d", "axis ", i,
          ": taps, stride and dilation must be at least 1 and pads not negative, found ", w[i], ", ",
          p.stride[i], ", ", p.dilation[i], ", ", p.pad_before[i], ", ", p.pad_after[i]);
    const int64_t room = x[i + 1] + p.pad_before[i] + p.pad_after[i] - (w[i] - 1) * p.dilation[i] - 1;
    check(room >= 0, "conv3d", "w ", w, " does not fit into the padded x ", x, " along axis ", i);
    y[i + 1] = room / p.stride[i] + 1;
  }
  y.numel();  // throws when it overflows
  return y;
}

int64_t conv3d_forward_workspace_bytes(const Conv3dParams& params, const Shape& x, const Shape& w) {
  return pass_workspace_bytes(forward_pass(params, x, w, {}));
}

int64_t conv3d_data_gradient_workspace_bytes(const Conv3dParams& params, const Shape& x, const Shape& w) {
  return pass_workspace_bytes(data_pass(params, x, w, {}));
}

int64_t conv3d_weight_gradient_workspace_bytes(const Conv3dParams& params, const Shape& x, const Shape& w) {
  return outer_workspace_bytes(geometry_of(params, x, w), w[3], w[4], true);
}

void conv3d_forward(const Conv3dParams& params, const View& x, const View& w, const View& bias, const View& y,
                    const View& workspace) {
  const Device device = device_of("conv3d", {{"x", x}, {"w", w}, {"bias", bias}, {"y", y}});
  check_dense("conv3d", {"x", x}, device);
  check_pair("w", w, x.dtype, device);
  check_dense("conv3d", {"y", y}, device);
  check_dtype("conv3d", {"y", y}, x.dtype);
  check_shape("conv3d", {"y", y}, conv3d_output_shape(params, x.shape, w.shape));
  if (bias) check_pair("bias", bias, x.dtype, device);
  if (bias) check_shape("conv3d", {"bias", bias}, {w.shape.back()});
  const OpTimer timer(
      "conv3d_forward", [&] { return flops_of(y, w); }, x, w, y);
  if (device == Device::cuda) return cuda::call("tw_cuda_conv3d_forward", params, x, w, bias, y);
  run_pass("conv3d", forward_pass(params, x.shape, w.shape, w), x, y, {bias, {}, {}}, workspace);
}

void conv3d_data_gradient(const Conv3dParams& params, const View& dy, const View& w, const View& dx,
                          const View& workspace) {
  const Device device = device_of("conv3d", {{"dy", dy}, {"w", w}, {"dx", dx}});
  check_dense("conv3d", {"dy", dy}, device);
  check_pair("w", w, dy.dtype, device);
  check_dense("conv3d", {"dx", dx}, device);
  check_dtype("conv3d", {"dx", dx}, dy.dtype);
  check_shape("conv3d", {"dy", dy}, conv3d_output_shape(params, dx.shape, w.shape));
  const OpTimer timer(
      "conv3d_data_gradient", [&] { return flops_of(dy, w); }, dy, w, dx);
  if (device == Device::cuda) return cuda::call("tw_cuda_conv3d_data_gradient", params, dy, w, dx);
  run_pass("conv3d", data_pass(params, dx.shape, w.shape, w), dy, dx, {}, workspace);
}

void conv3d_weight_gradient(const Conv3dParams& params, const View& x, const View& dy, const View& dw,
                            const View& workspace) {
  const Device device = device_of("conv3d", {{"x", x}, {"dy", dy}, {"dw", dw}});
  check_dense("conv3d", {"x", x}, device);
  check_dense("conv3d", {"dy", dy}, device);
  check_dtype("conv3d", {"dy", dy}, x.dtype);
  check_dense("conv3d", {"dw", dw}, device);
  check_dtype("conv3d", {"dw", dw}, x.dtype == DType::f64 ? DType::f64 : DType::f32);
  check_shape("conv3d", {"dy", dy}, conv3d_output_shape(params, x.shape, dw.shape));
  const OpTimer timer(
      "conv3d_weight_gradient", [&] { return flops_of(dy, dw); }, x, dw, dy);
  if (device == Device::cuda) return cuda::call("tw_cuda_conv3d_weight_gradient", params, x, dy, dw);
  run_outer("conv3d", geometry_of(params, x.shape, dw.shape), x, dy, true, dw, workspace);
}

}  // namespace tw::kernels
