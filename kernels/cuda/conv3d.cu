// 3-D convolution by cuDNN (convolution.h).
#include "kernels/cuda/convolution.h"
#include "kernels/cuda/scratch.h"
#include "kernels/op/conv3d.h"

namespace tw::cuda {
namespace {

cudnn::Window window_of(const kernels::Conv3dParams& p) {
  cudnn::Window window{.axes = 3};
  for (int i = 0; i < 3; ++i) {
    window.stride[i] = p.stride[i];
    window.before[i] = p.pad_before[i];
    window.after[i] = p.pad_after[i];
    window.dilation[i] = p.dilation[i];
  }
  return window;
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_conv3d_forward(const kernels::Conv3dParams* params, const View* x, const View* w,
                                      const View* bias, const View* y) {
  return caught([&] { convolve("conv3d_forward", window_of(*params), *x, *w, {*bias, {}, {}}, *y); });
}

TW_CUDA_EXPORT tw_cuda_conv3d_data_gradient(const kernels::Conv3dParams* params, const View* dy,
                                            const View* w, const View* dx) {
  return caught([&] { convolve_data_gradient("conv3d_data_gradient", window_of(*params), *dy, *w, *dx); });
}

TW_CUDA_EXPORT tw_cuda_conv3d_weight_gradient(const kernels::Conv3dParams* params, const View* x,
                                              const View* dy, const View* dw) {
  return caught(
      [&] { convolve_weight_gradient("conv3d_weight_gradient", window_of(*params), *x, *dy, *dw, {}); });
}

}  // namespace tw::cuda
