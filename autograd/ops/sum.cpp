#include "autograd/ops/sum.h"

#include "autograd/workspace.h"
#include "kernels/op/sum.h"
#include "kernels/op/unary.h"

namespace tw {
namespace {

Var reduce(const char* op, const Var& x, const std::vector<int>& dims, bool keep_dims, bool mean) {
  const Shape& shape = x.shape();
  Shape kept = shape;  // with 1 in the summed dimensions
  unsigned summed = dims.empty() ? (1u << shape.rank()) - 1 : 0;
  for (int dim : dims) {
    shape.dim(dim);  // throws when out of range
    const unsigned bit = 1u << (dim < 0 ? dim + shape.rank() : dim);
    check(!(summed & bit), op, "dimension ", dim, " of ", shape, " is given twice");
    summed |= bit;
  }
  Shape result;
  int64_t count = 1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (summed >> i & 1) {
      count *= shape[i];
      kept[i] = 1;
    }
    if (keep_dims || !(summed >> i & 1)) result.push_back(kept[i]);
  }
  check(!mean || count > 0, op, "of no elements, the input is ", shape);
  const double scale = mean ? 1.0 / static_cast<double>(count) : 1.0;
  Tensor y = sum_over(x.value().contiguous(), kept, scale).reshape(result);
  if (!wants_gradient({x})) return Var(y);
  return record(op, y, {x}, [shape, kept, scale](const Tensor& dy, Gradients& grads) {
    Tensor g = dy;
    if (scale != 1) {
      g = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
      kernels::unary_forward({.a = scale}, dy.view(), g.view());
    }
    grads.add(0, g.reshape(kept).broadcast_to(shape));
  });
}

}  // namespace

Tensor sum_over(const Tensor& x, const Shape& kept, double scale) {
  Tensor y = Tensor::empty(kept, x.dtype(), x.device());
  const auto bytes = static_cast<int64_t>(kernels::sum_workspace_bytes(x.view(), kept));
  const Tensor scratch = bytes ? workspace(bytes, x.device()) : Tensor();
  kernels::sum(x.view(), scale, y.view(), scratch.view().pointer);
  return y;
}

Var sum(const Var& x, const std::vector<int>& dims, bool keep_dims) {
  return reduce("sum", x, dims, keep_dims, false);
}
Var mean(const Var& x, const std::vector<int>& dims, bool keep_dims) {
  return reduce("mean", x, dims, keep_dims, true);
}

}  // namespace tw
