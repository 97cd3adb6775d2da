// 2-D convolution with its epilogue: y = conv(x, w) + bias + temb + residual in one kernel.
#pragma once

#include "autograd/var.h"
#include "kernels/cpu/isa.h"
#include "kernels/op/conv.h"

namespace tw {

namespace kernels {
struct Conv2dParams {
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;  // zeros
  int64_t dilation_h = 1, dilation_w = 1;

  static Conv2dParams same(int64_t kernel) {  // odd kernels: the output is as large as the input
    const int64_t pad = kernel / 2;
    return {.pad_top = pad, .pad_bottom = pad, .pad_left = pad, .pad_right = pad};
  }
};
}  // namespace kernels

// Rearranged weights that outlive a call. A layer owns one; it refreshes itself when the weight has changed.
struct PackedWeights {
  struct Entry {
    std::shared_ptr<Storage> source;
    uint64_t version = 0;
    kernels::Isa isa{};
    Tensor packed;
  };
  Entry forward, data_gradient;
};

struct Conv2dTerms {
  Var bias = {};      // (co)
  Var temb = {};      // (n, co), added to every pixel of its sample
  Var residual = {};  // (n, ho, wo, co)
};

// x (n, h, w, ci), w (kh, kw, ci, co) -> (n, ho, wo, co) with ho = (h + pad_top + pad_bottom - dilation_h (kh
// - 1) - 1) / stride_h + 1. Saves x only if w wants a gradient, and w only if x does. `packed` is used while
// no gradient of w is recorded. Throws Error naming conv2d when channels or ranks disagree or the output
// would be empty.
Var conv2d(const Var& x, const Var& w, const Conv2dTerms& terms, const kernels::Conv2dParams& params,
           PackedWeights* packed = nullptr);

namespace detail {
// The differentiable convolution that conv2d and linear share; y_shape is how its callers see the result.
Var convolution(const char* op, const kernels::ConvGeometry& g, const Shape& y_shape, const Var& x,
                const Var& w, const Conv2dTerms& terms, PackedWeights* packed);
}  // namespace detail

}  // namespace tw
