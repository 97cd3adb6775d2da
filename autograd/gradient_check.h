// Compares the gradients of a function with central differences in f64.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/var.h"

namespace tw {

using Function = std::function<Var(const std::vector<Var>&)>;

struct GradientCheck {
  double max_error = 0;  // max over elements of |analytic - numeric| / max(1, |numeric|)
  std::string worst;     // "input 1, element 17: analytic 0.25, numeric 0.5"
};

// L = sum(f(inputs) * weights) with fixed pseudo-random weights; differentiates with respect to every input.
// Inputs must be f64. At most `samples` elements of each input are perturbed, spread evenly.
GradientCheck check_gradients(const Function& f, const std::vector<Tensor>& inputs, double step = 1e-5,
                              int64_t samples = 200);

}  // namespace tw
