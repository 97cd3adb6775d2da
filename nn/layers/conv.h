// Convolution layers: a weight, a bias and the geometry. Weights are (kh, kw, c_in, c_out).
#pragma once

#include "autograd/ops/concat.h"
#include "autograd/ops/conv2d.h"
#include "autograd/ops/conv3d.h"
#include "autograd/ops/conv_transpose2d.h"
#include "nn/module.h"

namespace tw {

class Conv2d : public Module {
 public:
  // `gain` scales the variance of the first weights; 0 starts the layer at zero.
  Conv2d(int64_t in, int64_t out, int64_t kernel, const kernels::Conv2dParams& conv_params, double gain = 1)
      : params(conv_params),
        weight(parameter("weight", {kernel, kernel, in, out},
                         Initialiser::fan_average(kernel * kernel * in, kernel * kernel * out, gain))),
        bias(parameter("bias", {out}, Initialiser::zeros())) {}
  // Stride 1, output as large as the input; kernel odd.
  Conv2d(int64_t in, int64_t out, int64_t kernel, double gain = 1)
      : Conv2d(in, out, kernel, kernels::Conv2dParams::same(kernel), gain) {}

  // x (n, h, w, c_in) -> (n, ho, wo, c_out); terms: see autograd/ops/conv2d.h (the bias is this layer's).
  Var operator()(const Var& x, Conv2dTerms terms = {}) const {
    const AllocationName scope(name());
    terms.bias = bias;
    return conv2d(x, weight, terms, params, &packed_);
  }

  void keep_only_packed(WeightUse use) override { packed_.keep_only_packed(use); }

  // The layer's value at concat({x, rest}, -1), which is not made: the sum of two convolutions.
  Var joined(const Var& x, const Var& rest) const {
    const AllocationName scope(name());
    const int64_t c = x.dim(-1);
    const Var of_rest =
        conv2d(rest, slice(weight, 2, c, weight.dim(2)), {.bias = bias}, params, &packed_rest_);
    return conv2d(x, slice(weight, 2, 0, c), {.residual = of_rest}, params, &packed_);
  }

  kernels::Conv2dParams params;
  Var weight, bias;

 private:
  // Of frozen weights; they follow the weight by themselves. The one that `joined` fills last may give the
  // weight back.
  mutable PackedWeights packed_, packed_rest_;
};

// Weights are (kd, kh, kw, c_in, c_out).
class Conv3d : public Module {
 public:
  Conv3d(int64_t in, int64_t out, int64_t kernel, const kernels::Conv3dParams& conv_params, double gain = 1)
      : params(conv_params),
        weight(parameter(
            "weight", {kernel, kernel, kernel, in, out},
            Initialiser::fan_average(kernel * kernel * kernel * in, kernel * kernel * kernel * out, gain))),
        bias(parameter("bias", {out}, Initialiser::zeros())) {}

  Var operator()(const Var& x) const { return conv3d(x, weight, bias, params); }  // (n, d, h, w, c)

  kernels::Conv3dParams params;
  Var weight, bias;
};

class ConvTranspose2d : public Module {
 public:
  ConvTranspose2d(int64_t in, int64_t out, int64_t kernel, const kernels::ConvTranspose2dParams& conv_params,
                  double gain = 1)
      : params(conv_params),
        weight(parameter("weight", {kernel, kernel, in, out},
                         Initialiser::fan_average(kernel * kernel * in, kernel * kernel * out, gain))),
        bias(parameter("bias", {out}, Initialiser::zeros())) {}

  Var operator()(const Var& x) const { return conv_transpose2d(x, weight, bias, params); }  // (n, h, w, c)

  kernels::ConvTranspose2dParams params;
  Var weight, bias;
};

}  // namespace tw
