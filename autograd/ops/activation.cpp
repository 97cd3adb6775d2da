#include "autograd/ops/activation.h"

namespace tw {

Var activation(const Var& x, const kernels::ActivationParams& params) {
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernels::activation_forward(params, x.value().view(), y.view());
  if (!wants_gradient({x})) return Var(y);
  return record("activation", y, {x}, [params, saved = Saved(x)](const Tensor& dy, Gradients& grads) {
    Tensor dx = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
    kernels::activation_backward(params, saved.get().view(), dy.view(), dx.view());
    grads.add(0, dx);
  });
}

}  // namespace tw
