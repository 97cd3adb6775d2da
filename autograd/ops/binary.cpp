#include "autograd/ops/binary.h"

#include "autograd/ops/sum.h"
#include "kernels/op/binary.h"
#include "kernels/op/unary.h"

namespace tw {
namespace {

using kernels::Binary;

Tensor apply(Binary kind, const Tensor& a, const Tensor& b) {
  Tensor y = Tensor::empty(broadcast_shapes(kernels::binary_name(kind), a.shape(), b.shape()), a.dtype(),
                           a.device());
  kernels::binary(kind, a.view(), b.view(), y.view());
  return y;
}

Tensor negative(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernels::unary_forward({.a = -1}, x.view(), y.view());
  return y;
}

}  // namespace

Tensor sum_to(const Tensor& g, const Shape& shape) {
  if (g.shape() == shape) return g;
  Shape kept;  // g's rank, with 1 where `shape` was broadcast
  const int extra = g.rank() - shape.rank();
  for (int i = 0; i < g.rank(); ++i) kept.push_back(i < extra ? 1 : shape[i - extra]);
  return sum_over(g.contiguous(), kept, 1).reshape(shape);
}

Var add(const Var& a, const Var& b) {
  Tensor y = apply(Binary::add, a.value(), b.value());
  if (!wants_gradient({a, b})) return Var(y);
  return record("add", y, {a, b}, [sa = a.shape(), sb = b.shape()](const Tensor& dy, Gradients& grads) {
    if (grads.wanted(0)) grads.add(0, sum_to(dy, sa));
    if (grads.wanted(1)) grads.add(1, sum_to(dy, sb));
  });
}

Var sub(const Var& a, const Var& b) {
  Tensor y = apply(Binary::sub, a.value(), b.value());
  if (!wants_gradient({a, b})) return Var(y);
  return record("sub", y, {a, b}, [sa = a.shape(), sb = b.shape()](const Tensor& dy, Gradients& grads) {
    if (grads.wanted(0)) grads.add(0, sum_to(dy, sa));
    if (grads.wanted(1)) grads.add(1, negative(sum_to(dy, sb)));
  });
}

Var mul(const Var& a, const Var& b) {
  Tensor y = apply(Binary::mul, a.value(), b.value());
  if (!wants_gradient({a, b})) return Var(y);
  return record("mul", y, {a, b},
                [a = b.requires_grad() ? Saved(a) : Saved(), b = a.requires_grad() ? Saved(b) : Saved(),
                 sa = a.shape(), sb = b.shape()](const Tensor& dy, Gradients& grads) {
                  if (grads.wanted(0)) grads.add(0, sum_to(apply(Binary::mul, dy, b.get()), sa));
                  if (grads.wanted(1)) grads.add(1, sum_to(apply(Binary::mul, dy, a.get()), sb));
                });
}

// da = dy / b;  db = -dy a / b^2 = -(dy / b) (a / b)
Var div(const Var& a, const Var& b) {
  Tensor y = apply(Binary::div, a.value(), b.value());
  if (!wants_gradient({a, b})) return Var(y);
  return record("div", y, {a, b},
                [y = b.requires_grad() ? Saved(y) : Saved(), b = Saved(b), sa = a.shape(), sb = b.shape()](
                    const Tensor& dy, Gradients& grads) {
                  const Tensor da = apply(Binary::div, dy, b.get());
                  if (grads.wanted(0)) grads.add(0, sum_to(da, sa));
                  if (grads.wanted(1)) grads.add(1, negative(sum_to(apply(Binary::mul, da, y.get()), sb)));
                });
}

}  // namespace tw
