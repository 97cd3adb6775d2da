#include "autograd/ops/attention.h"

#include <cmath>

#include "autograd/ops/binary.h"
#include "autograd/ops/reshape.h"
#include "autograd/ops/softmax.h"
#include "autograd/ops/sum.h"
#include "autograd/ops/unary.h"
#include "autograd/workspace.h"
#include "tensor/error.h"

namespace tw {
namespace {

struct Forward {
  Tensor o, log_sum_exp;
};

Forward run_forward(const kernels::AttentionParams& params, const Tensor& q, const Tensor& k, const Tensor& v,
                    const Tensor& mask) {
  check(q.rank() == 3 && k.rank() == 3, "attention", "q and k must be (n, t, c), found ", q.shape(), " and ",
        k.shape());
  Forward result{Tensor::empty(q.shape(), q.dtype(), q.device()),
                 Tensor::empty({q.dim(0), params.heads, q.dim(1)},
                               q.dtype() == DType::f64 ? DType::f64 : DType::f32, q.device())};
  const Tensor scratch = workspace(
      kernels::attention_forward_workspace_bytes(params, q.shape(), k.shape(), q.dtype()), q.device());
  kernels::attention_forward(params, {q.view(), k.view(), v.view(), mask.view()}, result.o.view(),
                             result.log_sum_exp.view(), scratch.view());
  return result;
}

void run_backward(const kernels::AttentionParams& params, const kernels::AttentionInputs& in,
                  const Tensor& log_sum_exp, const Tensor& d_o,
                  const kernels::AttentionGradients& gradients) {
  const Tensor scratch = workspace(
      kernels::attention_backward_workspace_bytes(params, in.q.shape, in.k.shape, in.q.dtype), d_o.device());
  kernels::attention_backward(params, in, log_sum_exp.view(), d_o.view(), gradients, scratch.view());
}

}  // namespace

Var attention(const Var& q, const Var& k, const Var& v, const kernels::AttentionParams& params,
              const Tensor& mask) {
  Forward forward = run_forward(params, q.value(), k.value(), v.value(), mask);
  if (!wants_gradient({q, k, v})) return Var(forward.o);
  return record(
      "attention", forward.o, {q, k, v},
      [params, q = Saved(q), k = Saved(k), v = Saved(v), mask = mask.defined() ? Saved(mask) : Saved(),
       log_sum_exp = Saved(forward.log_sum_exp)](const Tensor& d_o, Gradients& grads) {
        const Tensor inputs[3] = {q.get(), k.get(), v.get()};
        Tensor gradients[3];
        for (int i = 0; i < 3; ++i)
          if (grads.wanted(i)) gradients[i] = Tensor::empty(inputs[i].shape(), d_o.dtype(), d_o.device());
        run_backward(params, {inputs[0].view(), inputs[1].view(), inputs[2].view(), mask.get().view()},
                     log_sum_exp.get(), d_o, {gradients[0].view(), gradients[1].view(), gradients[2].view()});
        for (int i = 0; i < 3; ++i)
          if (gradients[i].defined()) grads.add(i, gradients[i]);
      });
}

Var attention_packed(const Var& qkv, const kernels::AttentionParams& params) {
  check(qkv.value().rank() == 3 && qkv.dim(2) % 3 == 0, "attention_packed", "qkv must be (n, t, 3c), found ",
        qkv.shape());
  const auto part = [](const Tensor& packed, int64_t i) {
    const int64_t c = packed.dim(2) / 3;
    return packed.slice(2, i * c, (i + 1) * c);
  };
  const Tensor& value = qkv.value();
  Forward forward = run_forward(params, part(value, 0), part(value, 1), part(value, 2), {});
  if (!wants_gradient({qkv})) return Var(forward.o);
  return record("attention", forward.o, {qkv},
                [params, part, qkv = Saved(qkv), log_sum_exp = Saved(forward.log_sum_exp)](const Tensor& d_o,
                                                                                           Gradients& grads) {
                  const Tensor& in = qkv.get();
                  const Tensor d_qkv = Tensor::empty(in.shape(), in.dtype(), in.device());
                  run_backward(params, {part(in, 0).view(), part(in, 1).view(), part(in, 2).view(), {}},
                               log_sum_exp.get(), d_o,
                               {part(d_qkv, 0).view(), part(d_qkv, 1).view(), part(d_qkv, 2).view()});
                  grads.add(0, d_qkv);
                });
}

Var attention_composed(const Var& q, const Var& k, const Var& v, const kernels::AttentionParams& params) {
  const int64_t n = q.dim(0), tq = q.dim(1), tk = k.dim(1), c = q.dim(2), d = c / params.heads;
  const double factor = params.scale != 0 ? params.scale : 1 / std::sqrt(static_cast<double>(d));
  const auto heads_first = [&](const Var& x) {  // (n, t, c) -> (n, heads, t, d)
    return permute(reshape(x, Shape{n, x.dim(1), params.heads, d}), {0, 2, 1, 3});
  };
  const Var queries = reshape(heads_first(q), Shape{n, params.heads, tq, 1, d});
  const Var keys = reshape(heads_first(k), Shape{n, params.heads, 1, tk, d});
  const Var values = reshape(heads_first(v), Shape{n, params.heads, 1, tk, d});
  const Var p = softmax(sum(queries * keys, {4}) * factor);  // (n, heads, tq, tk)
  const Var o = sum(reshape(p, Shape{n, params.heads, tq, tk, 1}) * values, {3});
  return reshape(permute(o, {0, 2, 1, 3}), Shape{n, tq, c});
}

}  // namespace tw
