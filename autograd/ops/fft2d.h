// Fourier transforms over h and w (kernels/op/fft2d.h has the formulas and the layouts). f32 or f64; nothing
// is saved: the gradient is the transform of the other direction.
#pragma once

#include "autograd/var.h"
#include "kernels/op/fft2d.h"

namespace tw {

// Complex images (n, h, w, c, 2). centred: the origin is the middle of image and spectrum.
Var fft2d(const Var& x, kernels::FftNorm norm = kernels::FftNorm::ortho, bool centred = false);
Var ifft2d(const Var& x, kernels::FftNorm norm = kernels::FftNorm::ortho, bool centred = false);

// (n, h, w, c) -> (n, h, w / 2 + 1, c, 2), and back to an image of width w, even or odd.
Var rfft2d(const Var& x, kernels::FftNorm norm = kernels::FftNorm::ortho);
Var irfft2d(const Var& x, int64_t w, kernels::FftNorm norm = kernels::FftNorm::ortho);

}  // namespace tw
