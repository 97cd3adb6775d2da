// Inverted dropout with a counter-based mask: y = x / (1 - p) where a uniform number is >= p, else 0.
//
// Srivastava et al. 2014. The mask is a function of (key, sample, element): the backward pass computes it
// again instead of keeping it, and a sample's mask depends neither on the batch nor on the thread count.
#pragma once

#include "tensor/philox.h"
#include "tensor/view.h"

namespace tw::kernels {

struct DropoutParams {
  double p = 0;   // in [0, 1)
  RandomKey key;  // of sample 0; sample i has key.sample + i. The purpose is taken as Purpose::dropout.
  // A RandomKey as (4) i64 in the device's memory instead: a repeated step (tensor/cuda_graph.h) reads what
  // it is each time. On CUDA only.
  View key_in_memory{};
};

// x, y (n, ...): the same shape and dtype (f32, f64 or bf16), contiguous, rank at least 1. y may be x. The
// same function takes dy to dx.
void dropout(const DropoutParams& params, const View& x, const View& y);

}  // namespace tw::kernels
