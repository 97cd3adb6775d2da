// A linear measurement y = A x + noise: what an inverse problem knows of an image.
//
// An operator gives A, its adjoint A^T (<A x, y> = <x, A^T y>; every operator is tested for it) and, where it
// exists, its pseudo-inverse. On Vars, `apply` is differentiable: its gradient is the adjoint, and nothing is
// saved.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "autograd/var.h"

namespace tw {

class LinearOperator : public std::enable_shared_from_this<LinearOperator> {
 public:
  virtual ~LinearOperator() = default;
  virtual const char* name() const = 0;

  // x (n, h, w, c) -> y; y -> (n, h, w, c). Any batch size; an image's result does not depend on the others.
  virtual Tensor apply(const Tensor& x) const = 0;
  virtual Tensor adjoint(const Tensor& y) const = 0;
  virtual Tensor pseudo_inverse(const Tensor& y) const;  // throws unless overridden

  // The same, recorded on the tape. The operator must be owned by a shared_ptr.
  Var apply(const Var& x) const;
};

// y + sigma z in the units of y (images are in [-1, 1]: sigma = 0.05 is 0.025 of the [0, 1] range). Image i
// is keyed by seeds[i]. Noise is added to every element, where a mask knows nothing too.
Tensor add_measurement_noise(const Tensor& y, double sigma, std::span<const uint64_t> seeds);

}  // namespace tw
