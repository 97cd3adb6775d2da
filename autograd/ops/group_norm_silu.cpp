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

Tensor workspace_for(const kernels::GroupNormParams& params, const Tensor& y) {
  return Tensor::empty({kernels::group_norm_silu_workspace_bytes(params, y.shape(), y.dtype())}, DType::u8,
                       y.device());
}

Saved save(const Var& var) { return var.defined() ? Saved(var) : Saved(); }

// What backward needs: the inputs and two moments a group.
struct Kept {
  kernels::GroupNormParams params;
  Saved mean, rstd, x, gamma, beta, scale_shift, rest;

  kernels::GroupNormInputs inputs() const {
    return {x.get().view(), gamma.get().view(), beta.get().view(), scale_shift.get().view(),
            rest.get().view()};
  }
};

void backward_of(const Kept& kept, const Tensor& dy, Gradients& grads) {
  const DType moments = kept.mean.get().dtype();
  const auto like = [&](bool wanted, const Saved& input, bool moment) {
    const Tensor& t = input.get();
    return wanted ? Tensor::empty(t.shape(), moment ? moments : t.dtype(), dy.device()) : Tensor();
  };
  const bool parts = kept.rest.get().defined(), map = grads.wanted(0) || (parts && grads.wanted(4));
  const Tensor dx = like(map, kept.x, false), drest = like(map && parts, kept.rest, false);
  const Tensor dgamma = like(grads.wanted(1), kept.gamma, true);
  const Tensor dbeta = like(grads.wanted(2), kept.beta, true);
  const Tensor dscale_shift = like(grads.wanted(3), kept.scale_shift, false);
  kernels::group_norm_silu_backward(
      kept.params, kept.inputs(), kept.mean.get().view(), kept.rstd.get().view(), dy.view(),
      {dx.view(), dgamma.view(), dbeta.view(), dscale_shift.view(), drest.view()},
      workspace_for(kept.params, dy).view());
  if (dx.defined()) grads.add(0, dx);
  if (dgamma.defined()) grads.add(1, dgamma);
  if (dbeta.defined()) grads.add(2, dbeta);
  if (dscale_shift.defined()) grads.add(3, dscale_shift);
  if (drest.defined()) grads.add(4, drest);
}

}  // namespace

Var group_norm(const Var& x, const Var& gamma, const Var& beta, const kernels::GroupNormParams& params,
               const Var& scale_shift, const Var& rest) {
  check(x.value().rank() >= 2, "group_norm", "x must be (n, ..., c), found ", x.shape());
  const DType moments = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  const Shape whole = rest.defined() ? x.shape().with(-1, x.dim(-1) + rest.dim(-1)) : x.shape();
  Tensor y = Tensor::empty(whole, x.dtype(), x.device());
  Tensor mean = Tensor::empty({x.dim(0), params.groups}, moments, x.device()),
         rstd = Tensor::empty(mean.shape(), moments, x.device());
  kernels::group_norm_silu_forward(
      params, {x.value().view(), view_of(gamma), view_of(beta), view_of(scale_shift), view_of(rest)},
      y.view(), mean.view(), rstd.view(), workspace_for(params, y).view());
  const std::vector<Var> inputs{x, gamma, beta, scale_shift, rest};
  if (!wants_gradient(inputs)) return Var(y);
  return record(
      "group_norm", y, inputs,
      [kept = Kept{params, Saved(mean), Saved(rstd), Saved(x), save(gamma), save(beta), save(scale_shift),
                   save(rest)}](const Tensor& dy, Gradients& grads) { backward_of(kept, dy, grads); });
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
