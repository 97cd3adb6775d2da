#include "autograd/ops/embedding.h"

#include "kernels/op/embedding.h"
#include "tensor/error.h"

namespace tw {

Var embedding(const Var& table, const Tensor& index) {
  check(table.value().rank() == 2, "embedding", "table must be (v, c), found ", table.shape());
  Shape shape = index.shape();
  shape.push_back(table.dim(1));
  Tensor y = Tensor::empty(shape, table.dtype(), table.device());
  kernels::embedding_forward(table.value().view(), index.view(), y.view());
  if (!wants_gradient({table})) return Var(y);
  return record("embedding", y, {table},
                [rows = table.shape(), index = Saved(index)](const Tensor& dy, Gradients& grads) {
                  Tensor dtable =
                      Tensor::empty(rows, dy.dtype() == DType::f64 ? DType::f64 : DType::f32, dy.device());
                  kernels::embedding_backward(index.get().view(), dy.view(), dtable.view());
                  grads.add(0, dtable);
                });
}

}  // namespace tw
