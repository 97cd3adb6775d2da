// Convolution in two and three dimensions by cuDNN, all three passes: what conv2d.cu and conv3d.cu share.
//
// Activations are (n, ..., c) as everywhere. cuDNN's tensor-core engines want weights (co, taps..., ci), so a
// weight (taps..., ci, co) is turned into scratch memory before a call. The terms of the forward pass are
// fused into it where cuDNN has an engine, else added by a kernel of ours. Plans are chosen by plan_cache.h.
// A convolution of one tap is a matrix product (gemm.h) instead.
#pragma once

#include "kernels/cuda/cudnn_graph.h"
#include "tensor/view.h"

namespace tw::cuda {

struct ConvolutionTerms {
  View bias;      // (co)
  View temb;      // (n, co)
  View residual;  // the shape of y
};

// x (n, ..., ci), w (taps..., ci, co), y (n, ..., co), contiguous on the device. Each throws tw::Error.
void convolve(const char* op, const cudnn::Window& window, const View& x, const View& w,
              const ConvolutionTerms& terms, const View& y, const View& turned = {});
void convolve_data_gradient(const char* op, const cudnn::Window& window, const View& dy, const View& w,
                            const View& dx, const View& turned = {});
// The weight as both read it, (co, taps..., ci) of dtype `to`, for callers that use it again: then w's shape
// alone is read.
void turn_weights(const char* op, const View& w, DType to, void* turned);
// dw f32; db (f32, may be absent) is the sum of dy over its pixels.
void convolve_weight_gradient(const char* op, const cudnn::Window& window, const View& x, const View& dy,
                              const View& dw, const View& db);

}  // namespace tw::cuda
