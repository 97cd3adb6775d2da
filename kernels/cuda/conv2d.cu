// 2-D convolution by cuDNN (convolution.h).
#include "kernels/cuda/convolution.h"
#include "kernels/cuda/scratch.h"
#include "kernels/op/conv2d.h"

namespace tw::cuda {
namespace {

cudnn::Window window_of(const kernels::Conv2dParams& p) {
  return {.axes = 2,
          .stride = {p.stride_h, p.stride_w},
          .before = {p.pad_top, p.pad_left},
          .after = {p.pad_bottom, p.pad_right},
          .dilation = {p.dilation_h, p.dilation_w}};
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_conv2d_forward(const kernels::Conv2dParams* params, const View* x, const View* w,
                                      const kernels::Conv2dEpilogue* terms, const View* y,
                                      const View* packed) {
  return caught([&] {
    convolve("conv2d_forward", window_of(*params), *x, *w, {terms->bias, terms->temb, terms->residual}, *y,
             *packed);
  });
}

TW_CUDA_EXPORT tw_cuda_conv2d_data_gradient(const kernels::Conv2dParams* params, const View* dy,
                                            const View* w, const View* dx, const View* packed) {
  return caught(
      [&] { convolve_data_gradient("conv2d_data_gradient", window_of(*params), *dy, *w, *dx, *packed); });
}

TW_CUDA_EXPORT tw_cuda_conv2d_pack(const View* w, const int* dtype, const View* packed) {
  return caught(
      [&] { turn_weights("conv2d_pack_weights", *w, static_cast<DType>(*dtype), packed->pointer); });
}

TW_CUDA_EXPORT tw_cuda_conv2d_weight_gradient(const kernels::Conv2dParams* params, const View* x,
                                              const View* dy, const View* dw, const View* db) {
  return caught(
      [&] { convolve_weight_gradient("conv2d_weight_gradient", window_of(*params), *x, *dy, *dw, *db); });
}

// How many plans cuDNN makes for a device that is described by its properties as JSON (cudnn_graph.h); needs
// no driver. pass: 0 forward, 1 data gradient, 2 weight gradient. The views' pointers are not read; w is
// (co, kh, kw, ci).
TW_CUDA_EXPORT tw_cuda_conv2d_plans(const char* device, int pass, const kernels::Conv2dParams* params,
                                    const View* x, const View* w, const View* y, int* count) {
  return caught([&] {
    const cudnn::Target target = cudnn::Target::described(device);
    cudnn::Graph graph;
    const int a = graph.tensor(x->dtype, x->shape), b = graph.tensor(w->dtype, w->shape),
              c = graph.tensor(y->dtype, y->shape);
    graph.convolution(static_cast<cudnn::Pass>(pass), window_of(*params), a, b, c);
    *count = static_cast<int>(graph.plans(target, false).size());
  });
}

}  // namespace tw::cuda
