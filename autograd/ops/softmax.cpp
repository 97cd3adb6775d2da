#include "autograd/ops/softmax.h"

#include "kernels/op/softmax.h"

namespace tw {

Var softmax(const Var& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernels::softmax_forward(x.value().view(), y.view());
  if (!wants_gradient({x})) return Var(y);
  return record("softmax", y, {x}, [y = Saved(y)](const Tensor& dy, Gradients& grads) {
    Tensor dx = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
    kernels::softmax_backward(y.get().view(), dy.view(), dx.view());
    grads.add(0, dx);
  });
}

}  // namespace tw
