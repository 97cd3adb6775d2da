// y = x W + b, and the look-up table that is its one-hot case.
#pragma once

#include "autograd/ops/embedding.h"
#include "autograd/ops/linear.h"
#include "nn/module.h"

namespace tw {

class Linear : public Module {
 public:
  Linear(int64_t in, int64_t out, double gain = 1)
      : weight(parameter("weight", {in, out}, Initialiser::fan_average(in, out, gain))),
        bias(parameter("bias", {out}, Initialiser::zeros())) {}

  // x (..., in) -> (..., out), plus `residual` of the result's shape where given.
  Var operator()(const Var& x, const Var& residual = {}) const {
    const AllocationName scope(name());
    return linear(x, weight, bias, residual, &packed_);
  }

  void keep_only_packed(WeightUse use) override { packed_.keep_only_packed(use); }

  Var weight, bias;

 private:
  mutable PackedWeights packed_;  // of frozen weights; follows the weight by itself
};

class Embedding : public Module {
 public:
  Embedding(int64_t entries, int64_t channels)
      : weight(parameter("weight", {entries, channels}, Initialiser::normal(0.02))) {}

  Var operator()(const Tensor& index) const { return embedding(weight, index); }  // i32 or i64 (n) -> (n, c)

  Var weight;
};

}  // namespace tw
