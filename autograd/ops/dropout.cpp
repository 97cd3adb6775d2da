#include "autograd/ops/dropout.h"

namespace tw {

Var dropout(const Var& x, double p, const RandomKey& key, const Tensor& key_in_memory) {
  if (p == 0) return x;
  const kernels::DropoutParams params{.p = p, .key = key, .key_in_memory = key_in_memory.view()};
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernels::dropout(params, x.value().view(), y.view());
  if (!wants_gradient({x})) return Var(y);
  return record("dropout", y, {x}, [params, key_in_memory](const Tensor& dy, Gradients& grads) {
    Tensor dx = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
    kernels::dropout(params, dy.view(), dx.view());
    grads.add(0, dx);
  });
}

}  // namespace tw
