#include "autograd/ops/mse_loss.h"

#include "autograd/ops/sum.h"
#include "autograd/workspace.h"
#include "kernels/op/mse_loss.h"
#include "kernels/op/unary.h"

namespace tw {

Var mse_per_sample(const Var& prediction, const Var& target) {
  const Tensor &a = prediction.value(), &b = target.value();
  check(a.rank() >= 1, "mse_loss", "expected (n, ...), found ", a.shape());
  Tensor y = Tensor::empty({a.dim(0)}, a.dtype() == DType::f64 ? DType::f64 : DType::f32, a.device());
  const Tensor scratch = workspace(static_cast<int64_t>(kernels::mse_workspace_bytes(a.view())), a.device());
  kernels::mse_forward(a.view(), b.view(), y.view(), scratch.view().pointer);
  if (!wants_gradient({prediction, target})) return Var(y);
  return record("mse_loss", y, {prediction, target},
                [a = Saved(a), b = Saved(b)](const Tensor& dy, Gradients& grads) {
                  Tensor da = Tensor::empty(a.get().shape(), a.get().dtype(), dy.device());
                  kernels::mse_backward(a.get().view(), b.get().view(), dy.view(), da.view());
                  if (grads.wanted(0)) grads.add(0, da);
                  if (!grads.wanted(1)) return;
                  Tensor db = Tensor::empty(da.shape(), da.dtype(), dy.device());
                  kernels::unary_forward({.a = -1}, da.view(), db.view());
                  grads.add(1, db);
                });
}

Var mse_loss(const Var& prediction, const Var& target) { return mean(mse_per_sample(prediction, target)); }

}  // namespace tw
