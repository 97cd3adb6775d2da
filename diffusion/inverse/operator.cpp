#include "diffusion/inverse/operator.h"

#include "autograd/ops/binary.h"
#include "autograd/ops/unary.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace tw {

Tensor LinearOperator::pseudo_inverse(const Tensor&) const { fail(name(), "has no pseudo-inverse"); }

Var LinearOperator::apply(const Var& x) const {
  const Tensor y = apply(x.value());
  if (!wants_gradient({x})) return Var(y);
  return record(name(), y, {x}, [self = shared_from_this()](const Tensor& dy, Gradients& grads) {
    grads.add(0, self->adjoint(dy));
  });
}

Tensor add_measurement_noise(const Tensor& y, double sigma, std::span<const uint64_t> seeds) {
  check(sigma >= 0, "measurement noise", "sigma must not be negative, found ", sigma);
  check(y.rank() >= 2 && static_cast<int64_t>(seeds.size()) == y.dim(0), "measurement noise",
        "needs one seed for each of ", y.shape(), ", found ", seeds.size());
  if (sigma == 0) return y;
  const NoGrad no_grad;
  const Shape image(std::span(y.shape().begin() + 1, y.shape().end()));
  const Tensor z = random_normal(image, seeds, 0, Purpose::measurement, y.device());
  return add(y, scale(Var(z.to(y.dtype())), sigma)).value();
}

}  // namespace tw
