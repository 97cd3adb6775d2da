#include "autograd/ops/pad2d.h"

namespace tw {

Var pad2d(const Var& x, const kernels::Pad2dParams& p) {
  const Shape& s = x.shape();
  check(s.rank() == 4, "pad2d", "expected (n, h, w, c), found ", s);
  check(p.top >= 0 && p.bottom >= 0 && p.left >= 0 && p.right >= 0, "pad2d", "pads must not be negative");
  Tensor y =
      Tensor::empty({s[0], p.top + s[1] + p.bottom, p.left + s[2] + p.right, s[3]}, x.dtype(), x.device());
  kernels::pad2d_forward(p, x.value().view(), y.view());
  if (!wants_gradient({x})) return Var(y);
  return record("pad2d", y, {x}, [p, shape = s](const Tensor& dy, Gradients& grads) {
    Tensor dx = Tensor::empty(shape, dy.dtype(), dy.device());
    kernels::pad2d_backward(p, dy.view(), dx.view());
    grads.add(0, dx);
  });
}

}  // namespace tw
