// Normalisation layers: gamma (weight) starts at one, beta (bias) at zero.
#pragma once

#include "autograd/ops/group_norm_silu.h"
#include "autograd/ops/layer_norm.h"
#include "nn/module.h"

namespace tw {

class GroupNorm : public Module {
 public:
  GroupNorm(int64_t channels, const kernels::GroupNormParams& norm_params)
      : params(norm_params),
        weight(parameter("weight", {channels}, Initialiser::ones())),
        bias(parameter("bias", {channels}, Initialiser::zeros())) {
    check(params.groups > 0 && channels % params.groups == 0, "group_norm", channels,
          " channels do not divide into ", params.groups, " groups");
  }

  // x (n, ..., c); scale_shift (n, 2c), scale first, or undefined. Followed by SiLU if params.silu. x may
  // lack its last channels, which are then those of `rest`.
  Var operator()(const Var& x, const Var& scale_shift = {}, const Var& rest = {}) const {
    const AllocationName scope(name());
    return group_norm(x, weight, bias, params, scale_shift, rest);
  }

  kernels::GroupNormParams params;
  Var weight, bias;
};

class LayerNorm : public Module {
 public:
  explicit LayerNorm(int64_t channels, double eps = 1e-5)
      : weight(parameter("weight", {channels}, Initialiser::ones())),
        bias(parameter("bias", {channels}, Initialiser::zeros())),
        eps_(eps) {}

  Var operator()(const Var& x) const { return layer_norm(x, weight, bias, eps_); }  // x (..., c)

  Var weight, bias;

 private:
  double eps_;
};

}  // namespace tw
