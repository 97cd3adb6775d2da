#include "autograd/ops/linear.h"

#include "tensor/error.h"

namespace tw {

Var linear(const Var& x, const Var& w, const Var& bias, const Var& residual, PackedWeights* packed) {
  check(x.defined() && w.defined(), "linear", x.defined() ? "w" : "x", " is undefined");
  check(x.value().rank() >= 1 && w.value().rank() == 2, "linear",
        "x must be (..., in) and w (in, out), found ", x.shape(), " and ", w.shape());
  const int64_t in = w.dim(0), out = w.dim(1);
  check(x.dim(-1) == in, "linear", "x ", x.shape(), " has ", x.dim(-1), " features, w ", w.shape(),
        " expects ", in);
  const Shape y = x.shape().with(-1, out);
  const int64_t rows = y.with(-1, 1).numel();
  return detail::convolution("linear", {{1, 1, rows, in}, {1, 1, in, out}, y}, x, w,
                             {.bias = bias, .residual = residual}, {}, packed);
}

}  // namespace tw
