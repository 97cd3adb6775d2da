#include "autograd/ops/layer_norm.h"

#include "autograd/workspace.h"
#include "kernels/op/layer_norm.h"
#include "tensor/error.h"

namespace tw {

Var layer_norm(const Var& x, const Var& gamma, const Var& beta, double eps) {
  check(x.value().rank() >= 1, "layer_norm", "x must be (..., c), found ", x.shape());
  const DType moments = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  Shape rows;
  for (int i = 0; i + 1 < x.value().rank(); ++i) rows.push_back(x.dim(i));
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  Tensor mean = Tensor::empty(rows, moments, x.device()), rstd = Tensor::empty(rows, moments, x.device());
  const auto view_of = [](const Var& var) { return var.defined() ? var.value().view() : View{}; };
  kernels::layer_norm_forward({x.value().view(), view_of(gamma), view_of(beta)}, eps, y.view(), mean.view(),
                              rstd.view());
  if (!wants_gradient({x, gamma, beta})) return Var(y);

  const auto save = [](const Var& var) { return var.defined() ? Saved(var) : Saved(); };
  return record("layer_norm", y, {x, gamma, beta},
                [mean, rstd, moments, x = Saved(x), gamma = save(gamma), beta = save(beta)](
                    const Tensor& dy, Gradients& grads) {
                  const Tensor& input = x.get();
                  Tensor dx, dgamma, dbeta;
                  if (grads.wanted(0)) dx = Tensor::empty(input.shape(), input.dtype(), dy.device());
                  if (grads.wanted(1)) dgamma = Tensor::empty(gamma.get().shape(), moments, dy.device());
                  if (grads.wanted(2)) dbeta = Tensor::empty(beta.get().shape(), moments, dy.device());
                  const Tensor scratch =
                      workspace(kernels::layer_norm_backward_workspace_bytes(input.shape(), input.dtype()),
                                dy.device());
                  kernels::layer_norm_backward({input.view(), gamma.get().view(), beta.get().view()},
                                               mean.view(), rstd.view(), dy.view(),
                                               {dx.view(), dgamma.view(), dbeta.view()}, scratch.view());
                  if (dx.defined()) grads.add(0, dx);
                  if (dgamma.defined()) grads.add(1, dgamma);
                  if (dbeta.defined()) grads.add(2, dbeta);
                });
}

}  // namespace tw
