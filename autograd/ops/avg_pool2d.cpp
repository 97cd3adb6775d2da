#include "autograd/ops/avg_pool2d.h"

#include "kernels/op/avg_pool2d.h"

namespace tw {

Var avg_pool2d(const Var& x, int64_t k) {
  const Shape& s = x.shape();
  check(s.rank() == 4, "avg_pool2d", "expected (n, h, w, c), found ", s);
  check(k >= 1, "avg_pool2d", "window ", k, " must be at least 1");
  Tensor y = Tensor::empty({s[0], s[1] / k, s[2] / k, s[3]}, x.dtype(), x.device());
  kernels::avg_pool2d_forward(k, x.value().view(), y.view());
  if (!wants_gradient({x})) return Var(y);
  return record("avg_pool2d", y, {x}, [shape = s, k](const Tensor& dy, Gradients& grads) {
    Tensor dx = Tensor::empty(shape, dy.dtype(), dy.device());
    kernels::avg_pool2d_backward(k, dy.view(), dx.view());
    grads.add(0, dx);
  });
}

Var upsample_nearest2x(const Var& x) {
  const Shape& s = x.shape();
  check(s.rank() == 4, "upsample_nearest2x", "expected (n, h, w, c), found ", s);
  Tensor y = Tensor::empty({s[0], 2 * s[1], 2 * s[2], s[3]}, x.dtype(), x.device());
  kernels::upsample_nearest2x_forward(x.value().view(), y.view());
  if (!wants_gradient({x})) return Var(y);
  return record("upsample_nearest2x", y, {x}, [shape = s](const Tensor& dy, Gradients& grads) {
    Tensor dx = Tensor::empty(shape, dy.dtype(), dy.device());
    kernels::upsample_nearest2x_backward(dy.view(), dx.view());
    grads.add(0, dx);
  });
}

}  // namespace tw
