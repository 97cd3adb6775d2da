// cuFFT's transforms (cufft.h) with what they lack: factors, the origin in the middle, and the definition's
// symmetry, which cuFFT expects of half a spectrum and does not make.
#include "kernels/cuda/cufft.h"
#include "kernels/cuda/scratch.h"
#include "kernels/op/fft2d.h"

namespace tw::cuda {
namespace {

template <class T>
struct Pair {
  T re, im;
};

struct Extents {
  int64_t h, w, c;  // w: columns in memory
};

// y[i] = scale x[i]; in columns 0 < l < real_w / 2 also times `pair` (real_w 0: in none).
template <class T>
__global__ void scale_kernel(Pair<T>* y, int64_t count, Extents e, int64_t real_w, T scale, T pair) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * blockDim.x) {
    const int64_t column = i / e.c % e.w;
    const T factor = column > 0 && 2 * column < real_w ? scale * pair : scale;
    Pair<T> z = y[i];
    z.re *= factor, z.im *= factor;
    y[i] = z;
  }
}

// y[row, column] = scale x[row + down, column + right], around the edges.
template <class T>
__global__ void roll_kernel(const Pair<T>* x, Pair<T>* y, int64_t count, Extents e, int64_t down,
                            int64_t right, T scale) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * blockDim.x) {
    const int64_t channel = i % e.c, column = i / e.c % e.w, row = i / e.c / e.w % e.h,
                  image = i / e.c / e.w / e.h;
    const int64_t from_row = (row + down) % e.h, from_column = (column + right) % e.w;
    const Pair<T> z = x[((image * e.h + from_row) * e.w + from_column) * e.c + channel];
    y[i] = {scale * z.re, scale * z.im};
  }
}

// As scale_kernel, from x to y; columns that stand for themselves become (z[k] + conj z[-k]) / 2, whose
// transform over h is the real part of theirs.
template <class T>
__global__ void symmetric_kernel(const Pair<T>* x, Pair<T>* y, int64_t count, Extents e, int64_t real_w,
                                 T scale, T pair) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * blockDim.x) {
    const int64_t channel = i % e.c, column = i / e.c % e.w, row = i / e.c / e.w % e.h,
                  image = i / e.c / e.w / e.h;
    Pair<T> z = x[i];
    if (column > 0 && 2 * column < real_w) {
      z.re *= scale * pair, z.im *= scale * pair;
    } else {
      const Pair<T> other = x[((image * e.h + (e.h - row) % e.h) * e.w + column) * e.c + channel];
      z.re = (z.re + other.re) * (scale / 2), z.im = (z.im - other.im) * (scale / 2);
    }
    y[i] = z;
  }
}

template <class F>
const char* with_real(DType dtype, F f) {
  return caught([&] { dtype == DType::f64 ? f(double{}) : f(float{}); });
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_fft2d(const kernels::Fft2dParams* params, const View* x, const View* y) {
  return with_real(x->dtype, [&]<class T>(T) {
    const Shape& s = x->shape;
    const Extents e{s[1], s[2], s[3]};
    const Fourier transform{FourierKind::complex, params->inverse, x->dtype, s[0], e.h, e.w, e.c};
    const int64_t count = x->numel() / 2;
    const T scale = static_cast<T>(params->scale);
    const unsigned blocks = blocks_for(count);
    auto *from = static_cast<Pair<T>*>(x->pointer), *to = static_cast<Pair<T>*>(y->pointer);
    if (!params->centred) {
      fourier("fft2d", transform, from, to);
      if (scale == 1) return;
      launch(scale_kernel<T>, blocks, threads, to, count, e, int64_t{0}, scale, T(1));
      return require(launched("fft2d"));
    }
    const Scratch scratch("fft2d", x->numel() * sizeof(T));
    auto* between = static_cast<Pair<T>*>(scratch.get());
    launch(roll_kernel<T>, blocks, threads, static_cast<const Pair<T>*>(from), between, count, e, e.h / 2,
           e.w / 2, scale);
    require(launched("fft2d"));
    fourier("fft2d", transform, between, between);
    launch(roll_kernel<T>, blocks, threads, static_cast<const Pair<T>*>(between), to, count, e, e.h - e.h / 2,
           e.w - e.w / 2, T(1));
    require(launched("fft2d"));
  });
}

TW_CUDA_EXPORT tw_cuda_rfft2d(const kernels::RealFft2dParams* params, const View* x, const View* y) {
  return with_real(x->dtype, [&]<class T>(T) {
    const Shape& s = x->shape;
    const Extents e{s[1], s[2] / 2 + 1, s[3]};
    fourier("rfft2d", {FourierKind::to_half, false, x->dtype, s[0], s[1], s[2], s[3]}, x->pointer,
            y->pointer);
    if (params->scale == 1 && params->pair == 1) return;
    launch(scale_kernel<T>, blocks_for(y->numel() / 2), threads, static_cast<Pair<T>*>(y->pointer),
           y->numel() / 2, e, s[2], static_cast<T>(params->scale), static_cast<T>(params->pair));
    require(launched("rfft2d"));
  });
}

TW_CUDA_EXPORT tw_cuda_irfft2d(const kernels::RealFft2dParams* params, const View* x, const View* y) {
  return with_real(x->dtype, [&]<class T>(T) {
    const Shape& s = y->shape;
    const Extents e{s[1], s[2] / 2 + 1, s[3]};
    const Scratch spectrum("irfft2d", x->numel() * sizeof(T));
    launch(symmetric_kernel<T>, blocks_for(x->numel() / 2), threads, static_cast<const Pair<T>*>(x->pointer),
           static_cast<Pair<T>*>(spectrum.get()), x->numel() / 2, e, s[2], static_cast<T>(params->scale),
           static_cast<T>(params->pair));
    require(launched("irfft2d"));
    fourier("irfft2d", {FourierKind::from_half, true, x->dtype, s[0], s[1], s[2], s[3]}, spectrum.get(),
            y->pointer);
  });
}

}  // namespace tw::cuda
