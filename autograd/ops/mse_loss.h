// Mean squared error. prediction, target (n, ...): the same shape and dtype (f32, f64 or bf16). The result is
// f64 for f64, else f32. Saves both.
#pragma once

#include "autograd/var.h"

namespace tw {

// The mean over everything but n: (n). Use it with weights per sample, or to log loss against timestep.
Var mse_per_sample(const Var& prediction, const Var& target);

// The mean over everything: ().
Var mse_loss(const Var& prediction, const Var& target);

}  // namespace tw
