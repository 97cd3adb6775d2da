#include "autograd/ops/concat.h"

#include "kernels/op/copy.h"

namespace tw {

Var concat(const std::vector<Var>& inputs, int dim) {
  check(!inputs.empty(), "concat", "of no inputs");
  const Shape& first = inputs[0].shape();
  first.dim(dim);  // throws when out of range
  const int axis = dim < 0 ? dim + first.rank() : dim;
  int64_t extent = 0;
  for (const Var& x : inputs) {
    check(x.shape().rank() == first.rank() && x.shape().with(axis, 0) == first.with(axis, 0), "concat",
          "inputs ", first, " and ", x.shape(), " differ beyond dimension ", dim);
    check(x.dtype() == inputs[0].dtype(), "concat", "inputs are ", dtype_name(inputs[0].dtype()), " and ",
          dtype_name(x.dtype()));
    extent += x.dim(axis);
  }
  Tensor y = Tensor::empty(first.with(axis, extent), inputs[0].dtype(), inputs[0].device());
  std::vector<int64_t> begins;
  int64_t begin = 0;
  for (const Var& x : inputs) {
    begins.push_back(begin);
    kernels::copy(x.value().view(), y.slice(axis, begin, begin + x.dim(axis)).view());
    begin += x.dim(axis);
  }
  if (!wants_gradient(inputs)) return Var(y);
  begins.push_back(begin);
  return record("concat", y, inputs, [axis, begins](const Tensor& dy, Gradients& grads) {
    for (size_t i = 0; i + 1 < begins.size(); ++i) {
      if (!grads.wanted(static_cast<int>(i))) continue;
      const Tensor part = dy.slice(axis, begins[i], begins[i + 1]);
      Tensor dx = Tensor::empty(part.shape(), dy.dtype(), dy.device());
      kernels::copy(part.view(), dx.view());
      grads.add(static_cast<int>(i), dx);
    }
  });
}

Var slice(const Var& x, int dim, int64_t begin, int64_t end) {
  const Tensor part = x.value().slice(dim, begin, end);
  Tensor y = part;
  if (!part.is_contiguous()) {
    y = Tensor::empty(part.shape(), part.dtype(), part.device());
    kernels::copy(part.view(), y.view());
  }
  if (!wants_gradient({x})) return Var(y);
  return record("slice", y, {x}, [shape = x.shape(), dim, begin, end](const Tensor& dy, Gradients& grads) {
    Tensor dx = Tensor::empty(shape, dy.dtype(), dy.device());
    const int64_t extent = shape.dim(dim);
    if (begin > 0) kernels::fill(0, dx.slice(dim, 0, begin).view());
    if (end < extent) kernels::fill(0, dx.slice(dim, end, extent).view());
    kernels::copy(dy.view(), dx.slice(dim, begin, end).view());
    grads.add(0, dx);
  });
}

std::vector<Var> split(const Var& x, int dim, const std::vector<int64_t>& sizes) {
  int64_t total = 0;
  for (int64_t size : sizes) total += size;
  check(total == x.dim(dim), "split", "sizes add up to ", total, ", dimension ", dim, " of ", x.shape(),
        " has ", x.dim(dim));
  std::vector<Var> parts;
  int64_t begin = 0;
  for (int64_t size : sizes) {
    parts.push_back(slice(x, dim, begin, begin + size));
    begin += size;
  }
  return parts;
}

}  // namespace tw
