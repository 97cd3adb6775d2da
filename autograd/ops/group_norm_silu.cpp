#include "autograd/ops/group_norm_silu.h"

#include "autograd/ops/activation.h"
#include "autograd/ops/binary.h"
#include "autograd/ops/concat.h"
#include "autograd/ops/reshape.h"
#include "autograd/ops/sum.h"
#include "autograd/ops/unary.h"
#include "tensor/error.h"

namespace tw {
namespace {

View view_of(const Var& var) { return var.defined() ? var.value().view() : View{}; }

Tensor workspace_for(const kernels::GroupNormParams& params, const Tensor& x) {
  return Tensor::empty({kernels::group_norm_silu_workspace_bytes(params, x.shape(), x.dtype())}, DType::u8);
}

}  // namespace

Var group_norm(const Var& x, const Var& gamma, const Var& beta, const kernels::GroupNormParams& params,
               const Var& scale_shift) {
  check(x.value().rank() >= 2, "group_norm", "x must be (n, ..., c), found ", x.shape());
  const DType moments = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  Tensor mean = Tensor::empty({x.dim(0), params.groups}, moments),
         rstd = Tensor::empty(mean.shape(), moments);
  kernels::group_norm_silu_forward(
      params, {x.value().view(), view_of(gamma), view_of(beta), view_of(scale_shift)}, y.view(), mean.view(),
      rstd.view(), workspace_for(params, x.value()).view());
  if (!wants_gradient({x, gamma, beta, scale_shift})) return Var(y);

  const auto save = [](const Var& var) { return var.defined() ? Saved(var) : Saved(); };
  return record("group_norm", y, {x, gamma, beta, scale_shift},
                [params, mean, rstd, moments, x = Saved(x), gamma = save(gamma), beta = save(beta),
                 scale_shift = save(scale_shift)](const Tensor& dy, Gradients& grads) {
                  const Tensor& input = x.get();
                  Tensor dx, dgamma, dbeta, dscale_shift;
                  if (grads.wanted(0)) dx = Tensor::empty(input.shape(), input.dtype());
                  if (grads.wanted(1)) dgamma = Tensor::empty(gamma.get().shape(), moments);
                  if (grads.wanted(2)) dbeta = Tensor::empty(beta.get().shape(), moments);
                  if (grads.wanted(3))
                    dscale_shift = Tensor::empty(scale_shift.get().shape(), scale_shift.get().dtype());
                  kernels::group_norm_silu_backward(
                      params, {input.view(), gamma.get().view(), beta.get().view(), scale_shift.get().view()},
                      mean.view(), rstd.view(), dy.view(),
                      {dx.view(), dgamma.view(), dbeta.view(), dscale_shift.view()},
                      workspace_for(params, input).view());
                  if (dx.defined()) grads.add(0, dx);
                  if (dgamma.defined()) grads.add(1, dgamma);
                  if (dbeta.defined()) grads.add(2, dbeta);
                  if (dscale_shift.defined()) grads.add(3, dscale_shift);
                });
}

Var group_norm_composed(const Var& x, const Var& gamma, const Var& beta,
                        const kernels::GroupNormParams& params, const Var& scale_shift) {
  const int64_t n = x.dim(0), c = x.dim(-1), pixels = x.value().numel() / (n * c);
  const Var grouped = reshape(x, Shape{n, pixels, params.groups, c / params.groups});
  const Var centred = grouped - mean(grouped, {1, 3}, true);
  const Var variance = mean(square(centred), {1, 3}, true);
  Var z = reshape(centred / sqrt(variance + params.eps), Shape{n, pixels, c});
  if (gamma.defined()) z = z * gamma;
  if (beta.defined()) z = z + beta;
  if (scale_shift.defined()) {
    const Var row = reshape(scale_shift, Shape{n, 1, 2 * c});
    z = z * (slice(row, 2, 0, c) + 1) + slice(row, 2, c, 2 * c);
  }
  return reshape(params.silu ? silu(z) : z, x.shape());
}

Var instance_norm(const Var& x, const Var& gamma, const Var& beta, double eps) {
  return group_norm(x, gamma, beta, {.groups = x.value().shape().back(), .eps = eps});
}

}  // namespace tw
