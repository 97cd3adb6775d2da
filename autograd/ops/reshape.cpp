#include "autograd/ops/reshape.h"

#include "kernels/op/copy.h"

namespace tw {
namespace {

Tensor copied(const Tensor& x, DType dtype) {
  Tensor y = Tensor::empty(x.shape(), dtype, x.device());
  kernels::copy(x.view(), y.view());
  return y;
}

Tensor permuted(const Tensor& x, const std::vector<int>& order) {
  check(static_cast<int>(order.size()) == x.rank(), "permute", order.size(), " dimensions given for ",
        x.shape());
  Shape shape, strides;
  unsigned seen = 0;
  for (int dim : order) {
    const int i = dim < 0 ? dim + x.rank() : dim;
    check(i >= 0 && i < x.rank() && !(seen >> i & 1), "permute", "dimension ", dim, " is repeated or not in ",
          x.shape());
    seen |= 1u << i;
    shape.push_back(x.shape()[i]);
    strides.push_back(x.strides()[i]);
  }
  return copied(Tensor::wrap(x.storage(), x.dtype(), shape, strides, x.offset()), x.dtype());
}

}  // namespace

Var reshape(const Var& x, const Shape& shape) {
  const Tensor y = x.value().contiguous().reshape(shape);
  if (!wants_gradient({x})) return Var(y);
  return record("reshape", y, {x}, [before = x.shape()](const Tensor& dy, Gradients& grads) {
    grads.add(0, dy.reshape(before));
  });
}

Var reshape(const Var& x, const std::vector<int64_t>& extents) {
  int64_t known = 1;
  int open = -1;
  for (size_t i = 0; i < extents.size(); ++i) {
    if (extents[i] >= 0) {
      known *= extents[i];
      continue;
    }
    check(extents[i] == -1 && open < 0, "reshape", "extent ", extents[i], " at position ", i,
          " (only one may be -1)");
    open = static_cast<int>(i);
  }
  Shape shape;
  for (int64_t extent : extents)
    shape.push_back(extent < 0 ? (known ? x.value().numel() / known : 0) : extent);
  return reshape(x, shape);
}

Var permute(const Var& x, const std::vector<int>& order) {
  Tensor y = permuted(x.value(), order);
  if (!wants_gradient({x})) return Var(y);
  std::vector<int> inverse(order.size());
  for (size_t i = 0; i < order.size(); ++i)
    inverse[static_cast<size_t>(order[i] < 0 ? order[i] + y.rank() : order[i])] = static_cast<int>(i);
  return record("permute", y, {x},
                [inverse](const Tensor& dy, Gradients& grads) { grads.add(0, permuted(dy, inverse)); });
}

Var cast(const Var& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = copied(x.value(), dtype);
  if (!wants_gradient({x})) return Var(y);
  check(is_floating(dtype), "cast", "a ", dtype_name(dtype), " has no gradient; detach() the input first");
  return record("cast", y, {x}, [before = x.dtype()](const Tensor& dy, Gradients& grads) {
    grads.add(0, copied(dy, before));
  });
}

}  // namespace tw
