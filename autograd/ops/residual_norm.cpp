#include "autograd/ops/residual_norm.h"

namespace tw {

Var residual_norm(const Tensor& y, const Var& a, kernels::ResidualKind kind) {
  check(a.shape().rank() >= 1, "residual_norm", "a needs a batch extent");
  Tensor loss = Tensor::empty({a.dim(0)}, a.dtype() == DType::f64 ? DType::f64 : DType::f32, a.device());
  kernels::residual_norm_forward(kind, y.view(), a.value().view(), loss.view());
  if (!wants_gradient({a})) return Var(loss);
  return record(
      "residual_norm", loss, {a},
      [kind, y = Saved(y), a = Saved(a), loss = Saved(loss)](const Tensor& dloss, Gradients& grads) {
        Tensor da = Tensor::empty(a.get().shape(), a.get().dtype(), dloss.device());
        kernels::residual_norm_backward(kind, y.get().view(), a.get().view(), loss.get().view(), dloss.view(),
                                        da.view());
        grads.add(0, da);
      });
}

}  // namespace tw
