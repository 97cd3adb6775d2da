#include "diffusion/guidance.h"

#include "autograd/ops/binary.h"
#include "autograd/ops/unary.h"

namespace tw {

Denoiser classifier_free(Denoiser conditional, Denoiser unconditional, double w) {
  if (w == 1) return conditional;
  if (w == 0) return unconditional;
  const auto evaluate = [conditional, unconditional, w](const Var& x, int64_t step) {
    const Var with = conditional(x, step), without = unconditional(x, step);
    return add(without, scale(sub(with, without), w));
  };
  if (!conditional.repeatable() || !unconditional.repeatable()) return evaluate;
  return {evaluate,
          [conditional, unconditional](int64_t step) {
            conditional.prepare(step);
            unconditional.prepare(step);
          },
          [conditional, unconditional](const Tensor& row) {
            conditional.select(row);
            unconditional.select(row);
          }};
}

}  // namespace tw
