#include "autograd/ops/unary.h"

namespace tw {

Var unary(const Var& x, const kernels::UnaryParams& params) {
  const char* op = kernels::unary_name(params.kind);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernels::unary_forward(params, x.value().view(), y.view());
  if (!wants_gradient({x})) return Var(y);
  const kernels::UnarySaves saves = kernels::unary_saves(params.kind);
  const Saved saved = saves == kernels::UnarySaves::nothing ? Saved()
                      : saves == kernels::UnarySaves::x     ? Saved(x)
                                                            : Saved(y);
  return record(op, y, {x}, [params, saved](const Tensor& dy, Gradients& grads) {
    Tensor dx = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
    const View from = params.kind == kernels::Unary::affine ? dy.view() : saved.get().view();
    kernels::unary_backward(params, from, dy.view(), dx.view());
    grads.add(0, dx);
  });
}

}  // namespace tw
