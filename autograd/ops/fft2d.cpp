// A transform F is linear and, but for a factor, its adjoint is the other direction. Half a spectrum holds
// one of each pair of equal columns: the adjoint of leaving the other out is to count it half, and of making
// an image of both to count it twice.
#include "autograd/ops/fft2d.h"

#include "autograd/workspace.h"

namespace tw {
namespace {

// Asked for on the CPU only: the answer there makes the tables.
Tensor scratch(int64_t (*bytes)(const Shape&, DType), const Shape& image, const Tensor& x) {
  return x.device() == Device::cpu ? workspace(bytes(image, x.dtype()), x.device()) : Tensor();
}

Tensor complex_transform(const kernels::Fft2dParams& params, const Tensor& x) {
  const Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  const Shape image{x.dim(0), x.dim(1), x.dim(2), x.dim(3)};
  kernels::fft2d(params, x.view(), y.view(), scratch(kernels::fft2d_workspace_bytes, image, x).view());
  return y;
}

Tensor to_half(const kernels::RealFft2dParams& params, const Tensor& x) {
  const Tensor y = Tensor::empty({x.dim(0), x.dim(1), x.dim(2) / 2 + 1, x.dim(3), 2}, x.dtype(), x.device());
  kernels::rfft2d(params, x.view(), y.view(), scratch(kernels::fft2d_workspace_bytes, x.shape(), x).view());
  return y;
}

Tensor from_half(const kernels::RealFft2dParams& params, const Tensor& x, int64_t w) {
  const Tensor y = Tensor::empty({x.dim(0), x.dim(1), w, x.dim(3)}, x.dtype(), x.device());
  kernels::irfft2d(params, x.view(), y.view(),
                   scratch(kernels::irfft2d_workspace_bytes, y.shape(), x).view());
  return y;
}

Var complex_op(const char* name, const Var& x, bool inverse, kernels::FftNorm norm, bool centred) {
  const Shape& s = x.shape();
  check(s.rank() == 5 && s[4] == 2, name, "expected complex numbers (n, h, w, c, 2), found ", s);
  const kernels::Fft2dParams params{inverse, centred, kernels::fft_scale(norm, inverse, s[1], s[2])};
  const Tensor y = complex_transform(params, x.value().contiguous());
  if (!wants_gradient({x})) return Var(y);
  return record(name, y, {x}, [params](const Tensor& dy, Gradients& grads) {
    kernels::Fft2dParams adjoint = params;
    adjoint.inverse = !params.inverse;
    grads.add(0, complex_transform(adjoint, dy.contiguous()));
  });
}

}  // namespace

Var fft2d(const Var& x, kernels::FftNorm norm, bool centred) {
  return complex_op("fft2d", x, false, norm, centred);
}

Var ifft2d(const Var& x, kernels::FftNorm norm, bool centred) {
  return complex_op("ifft2d", x, true, norm, centred);
}

Var rfft2d(const Var& x, kernels::FftNorm norm) {
  const Shape& s = x.shape();
  check(s.rank() == 4, "rfft2d", "expected (n, h, w, c), found ", s);
  const double scale = kernels::fft_scale(norm, false, s[1], s[2]);
  const Tensor y = to_half({scale}, x.value().contiguous());
  if (!wants_gradient({x})) return Var(y);
  return record("rfft2d", y, {x}, [scale, w = s[2]](const Tensor& dy, Gradients& grads) {
    grads.add(0, from_half({scale, 0.5}, dy.contiguous(), w));
  });
}

Var irfft2d(const Var& x, int64_t w, kernels::FftNorm norm) {
  const Shape& s = x.shape();
  check(s.rank() == 5 && s[4] == 2, "irfft2d", "expected complex numbers (n, h, w / 2 + 1, c, 2), found ", s);
  const double scale = kernels::fft_scale(norm, true, s[1], w);
  const Tensor y = from_half({scale}, x.value().contiguous(), w);
  if (!wants_gradient({x})) return Var(y);
  return record("irfft2d", y, {x}, [scale](const Tensor& dy, Gradients& grads) {
    grads.add(0, to_half({scale, 2}, dy.contiguous()));
  });
}

}  // namespace tw
