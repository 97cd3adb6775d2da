// Rows, then columns: two passes over the memory. The inverse of half a spectrum goes the other way round, by
// way of the workspace.
#include "kernels/op/fft2d.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "kernels/cpu/fft_plan.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

constexpr int64_t serial_below = 4096;  // numbers a thread

Shape complex_shape(const Shape& image, int64_t w) { return {image[0], image[1], w, image[3], 2}; }
Shape half_shape(const Shape& image) { return complex_shape(image, image[2] / 2 + 1); }

// One pass along an axis of (outer, length, inner), without its addresses.
FftPass pass_of(FftKind kind, DType dtype, int64_t outer, int64_t length, int64_t inner) {
  const bool real = kind == FftKind::to_half || kind == FftKind::from_half;
  FftPass pass{.kind = kind, .dtype = dtype, .outer = outer, .length = length, .inner = inner};
  pass.line = fft_line(length, real, dtype);
  return pass;
}
FftPass rows(FftKind kind, DType dtype, const Shape& image) {
  return pass_of(kind, dtype, image[0] * image[1], image[2], image[3]);
}
FftPass columns(FftKind kind, DType dtype, const Shape& image, int64_t w) {
  return pass_of(kind, dtype, image[0], image[1], w * image[3]);
}

void run_pass(const FftPass& pass, void* scratch) {
  const FftKernels& kernels = active<FftKernels>();
  const int64_t groups = kernels.groups(pass), each = kernels.scratch_bytes(pass);
  const int64_t work = pass.outer * pass.length * pass.inner;
  const int64_t slots =
      std::clamp<int64_t>(work / serial_below, 1, std::min<int64_t>(thread_count(), groups));
  parallel_for(slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot)
      kernels.run(pass, static_cast<char*>(scratch) + slot * each, slot * groups / slots,
                  (slot + 1) * groups / slots);
  });
}

int64_t scratch_bytes(std::initializer_list<FftPass> passes) {
  int64_t bytes = 64;
  for (const FftPass& pass : passes) bytes = std::max(bytes, active<FftKernels>().scratch_bytes(pass));
  return bytes * thread_count();
}

int64_t spectrum_bytes(const Shape& image, DType dtype) {
  return (half_shape(image).numel() * static_cast<int64_t>(dtype_size(dtype)) + 63) / 64 * 64;
}

// That `image` is (n, h, w, c), h and w at least 1, of f32 or f64.
void check_image(const char* op, const Shape& image, DType dtype) {
  check(dtype == DType::f32 || dtype == DType::f64, op, "expected f32 or f64, found ", dtype_name(dtype));
  check(image.rank() == 4 && image[1] >= 1 && image[2] >= 1, op,
        "expected (n, h, w, c) with h and w at least 1, found ", image);
}

// x and y on one device, contiguous, of one dtype, with these shapes.
Device check_both(const char* op, const View& x, const Shape& x_shape, const View& y, const Shape& y_shape) {
  const Device device = device_of(op, {{"x", x}, {"y", y}});
  check_dense(op, {"x", x}, device);
  check_dense(op, {"y", y}, device);
  check_dtype(op, {"y", y}, x.dtype);
  check_shape(op, {"x", x}, x_shape);
  check_shape(op, {"y", y}, y_shape);
  return device;
}

char* check_workspace(const char* op, const View& workspace, int64_t bytes) {
  check(workspace && workspace.device == Device::cpu &&
            workspace.numel() * static_cast<int64_t>(dtype_size(workspace.dtype)) >= bytes,
        op, "the workspace must have ", bytes, " bytes");
  return static_cast<char*>(workspace.pointer);
}

// The image whose spectrum x (n, h, w, c, 2) is.
Shape image_of(const char* op, const View& x) {
  check(x.rank() == 5 && x.shape[4] == 2, op, "expected complex numbers (n, h, w, c, 2), found ", x.shape);
  return {x.shape[0], x.shape[1], x.shape[2], x.shape[3]};
}

}  // namespace

double fft_scale(FftNorm norm, bool inverse, int64_t h, int64_t w) {
  const double count = static_cast<double>(h) * static_cast<double>(w);
  if (norm == FftNorm::ortho) return 1 / std::sqrt(count);
  return (norm == FftNorm::backward) == inverse ? 1 / count : 1;
}

double fft2d_flops(const Shape& image) {
  const double count = static_cast<double>(image[1] * image[2]);
  return 5 * static_cast<double>(image.numel()) * std::log2(count);
}

int64_t fft2d_workspace_bytes(const Shape& image, DType dtype) {
  check_image("fft2d", image, dtype);
  return scratch_bytes(
      {rows(FftKind::forward, dtype, image), columns(FftKind::forward, dtype, image, image[2]),
       rows(FftKind::to_half, dtype, image), columns(FftKind::forward, dtype, image, image[2] / 2 + 1)});
}

int64_t irfft2d_workspace_bytes(const Shape& image, DType dtype) {
  check_image("irfft2d", image, dtype);
  return spectrum_bytes(image, dtype) +
         scratch_bytes({columns(FftKind::inverse, dtype, image, image[2] / 2 + 1),
                        rows(FftKind::from_half, dtype, image)});
}

void fft2d(const Fft2dParams& params, const View& x, const View& y, const View& workspace) {
  const Shape image = image_of("fft2d", x);
  const OpTimer timer(
      "fft2d", [&] { return fft2d_flops(image); }, x, y);
  check_image("fft2d", image, x.dtype);
  const Device device = check_both("fft2d", x, x.shape, y, x.shape);
  if (x.numel() == 0) return;
  if (device == Device::cuda) return cuda::call("tw_cuda_fft2d", params, x, y);
  char* scratch = check_workspace("fft2d", workspace, fft2d_workspace_bytes(image, x.dtype));
  const FftKind kind = params.inverse ? FftKind::inverse : FftKind::forward;
  FftPass along_w = rows(kind, x.dtype, image), along_h = columns(kind, x.dtype, image, image[2]);
  if (params.centred) along_w.shift = image[2] / 2, along_h.shift = image[1] / 2;
  along_w.x = x.pointer;
  along_w.y = along_h.y = y.pointer;
  along_h.x = image[2] == 1 ? x.pointer : y.pointer;
  const bool last = image[1] == 1 && image[2] > 1;  // along w
  (last ? along_w : along_h).scale = params.scale;
  if (image[2] > 1) run_pass(along_w, scratch);
  if (!last) run_pass(along_h, scratch);
}

void rfft2d(const RealFft2dParams& params, const View& x, const View& y, const View& workspace) {
  const OpTimer timer(
      "rfft2d", [&] { return fft2d_flops(x.shape) / 2; }, x, y);
  check_image("rfft2d", x.shape, x.dtype);
  const Device device = check_both("rfft2d", x, x.shape, y, half_shape(x.shape));
  if (x.numel() == 0) return;
  if (device == Device::cuda) return cuda::call("tw_cuda_rfft2d", params, x, y);
  char* scratch = check_workspace("rfft2d", workspace, fft2d_workspace_bytes(x.shape, x.dtype));
  FftPass along_w = rows(FftKind::to_half, x.dtype, x.shape);
  along_w.x = x.pointer, along_w.y = y.pointer;
  along_w.scale = params.scale, along_w.pair = params.pair;
  run_pass(along_w, scratch);
  if (x.shape[1] == 1) return;
  FftPass along_h = columns(FftKind::forward, x.dtype, x.shape, y.shape[2]);
  along_h.x = along_h.y = y.pointer;
  run_pass(along_h, scratch);
}

void irfft2d(const RealFft2dParams& params, const View& x, const View& y, const View& workspace) {
  const OpTimer timer(
      "irfft2d", [&] { return fft2d_flops(y.shape) / 2; }, x, y);
  check_image("irfft2d", y.shape, y.dtype);
  const Device device = check_both("irfft2d", x, half_shape(y.shape), y, y.shape);
  if (y.numel() == 0) return;
  if (device == Device::cuda) return cuda::call("tw_cuda_irfft2d", params, x, y);
  char* spectrum = check_workspace("irfft2d", workspace, irfft2d_workspace_bytes(y.shape, y.dtype));
  char* scratch = spectrum + spectrum_bytes(y.shape, y.dtype);
  FftPass along_w = rows(FftKind::from_half, x.dtype, y.shape);
  along_w.x = x.pointer, along_w.y = y.pointer;
  along_w.scale = params.scale, along_w.pair = params.pair;
  if (y.shape[1] > 1) {
    FftPass along_h = columns(FftKind::inverse, x.dtype, y.shape, x.shape[2]);
    along_h.x = x.pointer, along_h.y = spectrum;
    along_w.x = spectrum;
    run_pass(along_h, scratch);
  }
  run_pass(along_w, scratch);
}

}  // namespace tw::kernels
