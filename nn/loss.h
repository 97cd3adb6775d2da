// Losses: the mean over everything of a function of the difference d = prediction - target. Both of one shape
// and dtype; the result is (). The squared error is an op of its own (autograd/ops/mse_loss.h).
#pragma once

#include "autograd/ops/binary.h"
#include "autograd/ops/mse_loss.h"
#include "autograd/ops/sum.h"
#include "autograd/ops/unary.h"

namespace tw {

// |d|
inline Var l1_loss(const Var& prediction, const Var& target) { return mean(abs(prediction - target)); }

// sqrt(d^2 + c^2) - c, c > 0: quadratic near zero, linear far from it (Song & Dhariwal 2023, section 3.3, for
// single numbers).
inline Var pseudo_huber_loss(const Var& prediction, const Var& target, double c) {
  check(c > 0, "pseudo_huber_loss", "c must be positive, found ", c);
  return mean(sqrt(square(prediction - target) + c * c) - c);
}

}  // namespace tw
