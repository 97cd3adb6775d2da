#include "diffusion/guidance.h"

#include <utility>

#include "autograd/ops/binary.h"
#include "autograd/ops/unary.h"

namespace tw {

Denoiser classifier_free(Denoiser conditional, Denoiser unconditional, double w) {
  if (w == 1) return conditional;
  if (w == 0) return unconditional;
  return [conditional = std::move(conditional), unconditional = std::move(unconditional), w](const Var& x,
                                                                                             int64_t step) {
    const Var with = conditional(x, step), without = unconditional(x, step);
    return add(without, scale(sub(with, without), w));
  };
}

}  // namespace tw
