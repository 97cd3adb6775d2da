#include "autograd/ops/linear.h"

#include <algorithm>

#include "tensor/error.h"

namespace tw {

Var linear(const Var& x, const Var& w, const Var& bias, const Var& residual, PackedWeights* packed) {
  check(w.shape().rank() == 2, "linear", "w must be (in, out), found ", w.shape());
  check(x.shape().rank() >= 1 && x.dim(-1) == w.dim(0), "linear", "x ", x.shape(), " does not fit w ",
        w.shape());
  const int64_t rows = x.value().numel() / std::max<int64_t>(1, w.dim(0));
  const kernels::ConvGeometry g{
      .n = 1, .in = {1, 1, rows}, .out = {1, 1, rows}, .ci = w.dim(0), .co = w.dim(1)};
  return detail::convolution("linear", g, x.shape().with(-1, w.dim(1)), x, w,
                             {.bias = bias, .residual = residual}, packed);
}

}  // namespace tw
