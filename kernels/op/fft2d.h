// Discrete Fourier transforms over h and w of images (n, h, w, c), of any extents:
//   X[k, l] = scale sum over y, x of x[y, x] e^(-2 pi i (k y / h + l x / w))      (inverse: e^(+2 pi i ...))
//
// A complex image is (n, h, w, c, 2), the real and the imaginary part side by side, as in C, NumPy's
// complex64 and cuFFT. The spectrum of a real image has X[-k, -l] = conj X[k, l]; of it only the columns 0 <=
// l <= w / 2 are kept, (n, h, w / 2 + 1, c, 2). A transform over one axis is the case h = 1 or w = 1, which
// costs nothing.
//
// f32 or f64. On the CPU: mixed radices 8, 4, 2 and odd primes up to 31 in place, Bluestein 1970 for larger
// ones (kernels/cpu/isa/fft.cpp); on CUDA cuFFT. Extents are at least 1; n or c may be 0.
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// Which of the two directions divides by h w; ortho: both by its square root.
enum class FftNorm { backward, ortho, forward };
double fft_scale(FftNorm norm, bool inverse, int64_t h, int64_t w);

struct Fft2dParams {
  bool inverse = false;
  // The middle (h / 2, w / 2), rounded down, is the origin of image and spectrum:
  // fftshift(fft(ifftshift(x))).
  bool centred = false;
  double scale = 1;
};

// x, y (n, h, w, c, 2); y may be x. The adjoint is the other direction with the same scale.
void fft2d(const Fft2dParams& params, const View& x, const View& y, const View& workspace);

// `pair` multiplies the columns that stand for two, 0 < l < w / 2 (before the inverse, after the forward).
struct RealFft2dParams {
  double scale = 1;
  double pair = 1;
};

// x (n, h, w, c) -> y (n, h, w / 2 + 1, c, 2).
void rfft2d(const RealFft2dParams& params, const View& x, const View& y, const View& workspace);

// x (n, h, w / 2 + 1, c, 2) -> y (n, h, w, c), whose w may be even or odd. Of the columns that stand for
// themselves only what a real image can have counts: the imaginary part of their transform over h is left
// out. Adjoints: of rfft2d{s, p} it is irfft2d{s, p / 2}, of irfft2d{s, p} rfft2d{s, 2 p}.
void irfft2d(const RealFft2dParams& params, const View& x, const View& y, const View& workspace);

// Bytes of scratch (64-byte aligned, no initialisation) for images (n, h, w, c) of f32 or f64, of any of the
// three; depends on the thread count. CUDA needs none.
int64_t fft2d_workspace_bytes(const Shape& image, DType dtype);
int64_t irfft2d_workspace_bytes(const Shape& image, DType dtype);

// 5 N log2 N a complex transform of N = h w numbers, the usual count; half of it for real ones.
double fft2d_flops(const Shape& image);

}  // namespace tw::kernels
