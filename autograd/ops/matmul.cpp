#include "autograd/ops/matmul.h"

#include <numeric>
#include <utility>

#include "autograd/ops/reshape.h"
#include "autograd/workspace.h"
#include "kernels/op/gemm.h"
#include "tensor/error.h"

namespace tw {
namespace {

Tensor product(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  const kernels::GemmParams params{.transpose_a = transpose_a, .transpose_b = transpose_b};
  const Tensor c =
      Tensor::empty(kernels::gemm_output_shape(params, a.shape(), b.shape()), a.dtype(), a.device());
  const Tensor scratch =
      workspace(kernels::gemm_workspace_bytes(params, a.shape(), b.shape(), a.dtype()), a.device());
  kernels::gemm(params, a.view(), b.view(), {}, c.view(), scratch.view());
  return c;
}

// a^T b over all rows of both, (..., k) and (..., n) -> (k, n).
Tensor outer(const Tensor& a, const Tensor& b) {
  const Tensor c =
      Tensor::empty({a.dim(-1), b.dim(-1)}, a.dtype() == DType::f64 ? DType::f64 : DType::f32, a.device());
  const Tensor scratch = workspace(kernels::gemm_outer_workspace_bytes(a.shape(), b.shape()), a.device());
  kernels::gemm_outer(a.view(), b.view(), c.view(), {}, scratch.view());
  return c;
}

}  // namespace

Var matmul(const Var& a, const Var& b, bool transpose_a, bool transpose_b) {
  check(a.defined() && b.defined(), "matmul", a.defined() ? "b" : "a", " is undefined");
  const int rank = a.value().rank();
  if (transpose_a && rank > 2 && b.value().rank() == 2) {
    std::vector<int> order(static_cast<size_t>(rank));
    std::iota(order.begin(), order.end(), 0);
    std::swap(order[order.size() - 1], order[order.size() - 2]);
    return matmul(permute(a, order), b, false, transpose_b);
  }
  const Tensor left = a.value().contiguous(), right = b.value().contiguous();
  const Tensor c = product(left, right, transpose_a, transpose_b);
  if (!wants_gradient({a, b})) return Var(c);

  const Saved saved_a = b.requires_grad() ? Saved(left) : Saved();
  const Saved saved_b = a.requires_grad() ? Saved(right) : Saved();
  return record(
      "matmul", c, {a, b},
      [saved_a, saved_b, transpose_a, transpose_b, one_b = right.rank() == 2 && rank > 2](const Tensor& dc,
                                                                                          Gradients& grads) {
        // d op(a) = dc op(b)^T and d op(b) = op(a)^T dc; a transposed operand has their transpose.
        if (grads.wanted(0))
          grads.add(0, transpose_a ? product(saved_b.get(), dc, transpose_b, true)
                                   : product(dc, saved_b.get(), false, !transpose_b));
        if (!grads.wanted(1)) return;
        const Tensor& x = saved_a.get();
        if (one_b)  // the rows of the whole batch are one long sum
          grads.add(1, transpose_b ? outer(dc, x) : outer(x, dc));
        else
          grads.add(1, transpose_b ? product(dc, x, true, transpose_a) : product(x, dc, !transpose_a, false));
      });
}

}  // namespace tw
