// Transposed convolution: the data gradient of the convolution with the roles of its channels exchanged,
// whose weight (kh, kw, co, ci) is turned into scratch memory tap by tap. So its own data gradient is that
// convolution, and its weight gradient that one's, turned back.
#include "kernels/cuda/convolution.h"
#include "kernels/cuda/scratch.h"
#include "kernels/cuda/transpose.h"
#include "kernels/op/conv_transpose2d.h"

namespace tw::cuda {
namespace {

using kernels::ConvTranspose2dParams;

cudnn::Window window_of(const ConvTranspose2dParams& p) {
  return {.axes = 2,
          .stride = {p.stride_h, p.stride_w},
          .before = {p.pad_top, p.pad_left},
          .after = {p.pad_bottom, p.pad_right},
          .dilation = {p.dilation_h, p.dilation_w}};
}

// to (kh, kw, j, i) = from (kh, kw, i, j).
void turn_taps(const View& from, const View& to) {
  require(for_float("conv_transpose2d", from.dtype, [&]<class T>(T) -> const char* {
    using M = typename Element<T>::Memory;
    const int64_t rows = from.dim(2), columns = from.dim(3);
    for (int64_t tap = 0; tap < from.dim(0) * from.dim(1); ++tap)
      if (const char* failed =
              transpose<T, T>(static_cast<const M*>(from.pointer) + tap * rows * columns, rows, columns,
                              static_cast<M*>(to.pointer) + tap * rows * columns))
        return failed;
    return nullptr;
  }));
}

// A weight with its channels exchanged, in scratch memory.
struct Turned {
  Scratch memory;
  View view;
  explicit Turned(const View& w)
      : memory("conv_transpose2d", static_cast<size_t>(w.numel()) * dtype_size(w.dtype)),
        view{memory.get(), w.dtype, w.device, {w.dim(0), w.dim(1), w.dim(3), w.dim(2)}, {}} {
    view.strides = contiguous_strides(view.shape);
  }
};

template <class T, class B>
__global__ void add_bias(const typename Element<B>::Memory* bias, int64_t c, int64_t n,
                         typename Element<T>::Memory* y) {
  using V = typename Element<T>::Value;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step)
    y[i] = Element<T>::store(Element<T>::load(y[i]) + static_cast<V>(Element<B>::load(bias[i % c])));
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_conv_transpose2d_forward(const ConvTranspose2dParams* params, const View* x,
                                                const View* w, const View* bias, const View* y) {
  return caught([&] {
    const Turned turned(*w);
    turn_taps(*w, turned.view);
    convolve_data_gradient("conv_transpose2d", window_of(*params), *x, turned.view, *y);
    if (!*bias) return;
    require(for_float("conv_transpose2d", y->dtype, [&]<class T>(T) {
      return for_float("conv_transpose2d", bias->dtype, [&]<class B>(B) {
        launch(add_bias<T, B>, blocks_for(y->numel()), threads,
               static_cast<const typename Element<B>::Memory*>(bias->pointer), y->dim(3), y->numel(),
               static_cast<typename Element<T>::Memory*>(y->pointer));
        return launched("add_bias");
      });
    }));
  });
}

TW_CUDA_EXPORT tw_cuda_conv_transpose2d_data_gradient(const ConvTranspose2dParams* params, const View* dy,
                                                      const View* w, const View* dx) {
  return caught([&] {
    const Turned turned(*w);
    turn_taps(*w, turned.view);
    convolve("conv_transpose2d", window_of(*params), *dy, turned.view, {}, *dx);
  });
}

TW_CUDA_EXPORT tw_cuda_conv_transpose2d_weight_gradient(const ConvTranspose2dParams* params, const View* x,
                                                        const View* dy, const View* dw) {
  return caught([&] {
    const Turned turned(*dw);
    convolve_weight_gradient("conv_transpose2d", window_of(*params), *dy, *x, turned.view, {});
    turn_taps(turned.view, *dw);
  });
}

}  // namespace tw::cuda
