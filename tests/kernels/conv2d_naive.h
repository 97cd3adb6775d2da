// Convolution in f64 by its formula, with nothing shared with the kernels under test.
#pragma once

#include "kernels/op/conv2d.h"
#include "tests/random_tensor.h"

namespace tw {

struct NaiveConv2d {
  Tensor y, dx, dw, db;
};

// Forward of x, w and the gradients for dy; all results f64.
inline NaiveConv2d naive_conv2d(const kernels::Conv2dParams& p, const Tensor& x, const Tensor& w,
                                const Tensor& dy) {
  const Shape ys = kernels::conv2d_output_shape(p, x.shape(), w.shape());
  const int64_t n = x.dim(0), h = x.dim(1), v = x.dim(2), ci = x.dim(3), kh = w.dim(0), kw = w.dim(1),
                co = w.dim(3);
  const std::vector<double> X = x.to_vector(), W = w.to_vector(), G = dy.to_vector();
  std::vector<double> Y(static_cast<size_t>(ys.numel())), DX(X.size()), DW(W.size()),
      DB(static_cast<size_t>(co));
  for (int64_t b = 0; b < n; ++b)
    for (int64_t i = 0; i < ys[1]; ++i)
      for (int64_t j = 0; j < ys[2]; ++j)
        for (int64_t o = 0; o < co; ++o) {
          const size_t at = static_cast<size_t>(((b * ys[1] + i) * ys[2] + j) * co + o);
          DB[static_cast<size_t>(o)] += G[at];
          for (int64_t a = 0; a < kh; ++a)
            for (int64_t c = 0; c < kw; ++c) {
              const int64_t r = i * p.stride_h - p.pad_top + a * p.dilation_h;
              const int64_t s = j * p.stride_w - p.pad_left + c * p.dilation_w;
              if (r < 0 || r >= h || s < 0 || s >= v) continue;
              for (int64_t k = 0; k < ci; ++k) {
                const size_t xi = static_cast<size_t>(((b * h + r) * v + s) * ci + k);
                const size_t wi = static_cast<size_t>(((a * kw + c) * ci + k) * co + o);
                Y[at] += X[xi] * W[wi];
                DX[xi] += G[at] * W[wi];
                DW[wi] += G[at] * X[xi];
              }
            }
        }
  return {Tensor::from(Y, ys), Tensor::from(DX, x.shape()), Tensor::from(DW, w.shape()),
          Tensor::from(DB, {co})};
}

}  // namespace tw
