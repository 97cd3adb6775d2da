// y = x with rows and columns added around it, one thread an element of the result. Backward gathers: a pixel
// of dx adds the pixels of dy that show it, in the order of their rows and columns, in f32 (f64).
#include "kernels/cuda/element.h"
#include "kernels/op/pad2d.h"

namespace tw::cuda {
namespace {

struct Frame {
  kernels::Pad2dParams pad;
  int64_t h, w, c, ho, wo;  // of x; of y
};

// Where position i of the padded axis comes from; -1 for a zero.
__device__ int64_t source(kernels::PadMode mode, int64_t i, int64_t before, int64_t extent) {
  const int64_t at = i - before;
  if (at >= 0 && at < extent) return at;
  if (mode == kernels::PadMode::zero) return -1;
  if (mode == kernels::PadMode::reflect) return at < 0 ? -at : 2 * (extent - 1) - at;
  return at < 0 ? 0 : extent - 1;
}

template <class T>
__global__ void forward_kernel(Frame f, const typename Element<T>::Memory* x, int64_t n,
                               typename Element<T>::Memory* y) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const int64_t pixel = i / f.c, row = source(f.pad.mode, pixel / f.wo % f.ho, f.pad.top, f.h),
                  column = source(f.pad.mode, pixel % f.wo, f.pad.left, f.w);
    const int64_t sample = pixel / f.wo / f.ho;
    y[i] = row < 0 || column < 0 ? Element<T>::store(typename Element<T>::Value(0))
                                 : x[((sample * f.h + row) * f.w + column) * f.c + i % f.c];
  }
}

template <class T>
__global__ void backward_kernel(Frame f, const typename Element<T>::Memory* dy, int64_t n,
                                typename Element<T>::Memory* dx) {
  using V = typename Element<T>::Value;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const int64_t pixel = i / f.c, column = pixel % f.w, row = pixel / f.w % f.h, sample = pixel / f.w / f.h;
    V sum = 0;
    const auto add_row = [&](int64_t from_row) {
      const auto add = [&](int64_t from) {
        sum += Element<T>::load(dy[((sample * f.ho + from_row) * f.wo + from) * f.c + i % f.c]);
      };
      add(f.pad.left + column);
      for (int64_t o = 0; o < f.pad.left; ++o)
        if (source(f.pad.mode, o, f.pad.left, f.w) == column) add(o);
      for (int64_t o = f.pad.left + f.w; o < f.wo; ++o)
        if (source(f.pad.mode, o, f.pad.left, f.w) == column) add(o);
    };
    add_row(f.pad.top + row);
    for (int64_t o = 0; o < f.pad.top; ++o)
      if (source(f.pad.mode, o, f.pad.top, f.h) == row) add_row(o);
    for (int64_t o = f.pad.top + f.h; o < f.ho; ++o)
      if (source(f.pad.mode, o, f.pad.top, f.h) == row) add_row(o);
    dx[i] = Element<T>::store(sum);
  }
}

Frame frame_of(const kernels::Pad2dParams& pad, const View& x, const View& y) {
  return {pad, x.shape[1], x.shape[2], x.shape[3], y.shape[1], y.shape[2]};
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_pad2d_forward(const kernels::Pad2dParams* params, const View* x, const View* y) {
  if (y->numel() == 0) return nullptr;
  return for_float("pad2d_forward", x->dtype, [&]<class T>(T) {
    using M = typename Element<T>::Memory;
    launch(forward_kernel<T>, blocks_for(y->numel()), threads, frame_of(*params, *x, *y),
           static_cast<const M*>(x->pointer), y->numel(), static_cast<M*>(y->pointer));
    return launched("pad2d_forward");
  });
}

TW_CUDA_EXPORT tw_cuda_pad2d_backward(const kernels::Pad2dParams* params, const View* dy, const View* dx) {
  if (dx->numel() == 0) return nullptr;
  return for_float("pad2d_backward", dx->dtype, [&]<class T>(T) {
    using M = typename Element<T>::Memory;
    launch(backward_kernel<T>, blocks_for(dx->numel()), threads, frame_of(*params, *dx, *dy),
           static_cast<const M*>(dy->pointer), dx->numel(), static_cast<M*>(dx->pointer));
    return launched("pad2d_backward");
  });
}

}  // namespace tw::cuda
