// Inverted dropout (kernels/op/dropout.h). x (n, ...): f32, f64 or bf16. Saves only the key.
#pragma once

#include "autograd/var.h"
#include "kernels/op/dropout.h"

namespace tw {

// p in [0, 1); x itself for p = 0. Sample i draws from the stream of key.sample + i, so that a batch may be
// cut in parts. Every call of a training step needs a key of its own: let the seed or the step number the
// layer.
// `key_in_memory`: instead of the key, in a repeated step (kernels/op/dropout.h).
Var dropout(const Var& x, double p, const RandomKey& key, const Tensor& key_in_memory = {});
inline Var dropout(const Var& x, double p, uint64_t seed, uint64_t first_sample = 0, uint64_t step = 0) {
  return dropout(x, p, {.seed = seed, .sample = first_sample, .step = step, .purpose = Purpose::dropout});
}

}  // namespace tw
