#include "autograd/ops/predict_x0.h"

namespace tw {

Var predict_x0(const Var& x, const Var& output, std::vector<kernels::SamplerStep> steps,
               const Tensor& coefficients) {
  Tensor x0 = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernels::predict_x0_forward(steps, x.value().view(), output.value().view(), x0.view(), coefficients.view());
  if (!wants_gradient({x, output})) return Var(x0);
  return record("predict_x0", x0, {x, output},
                [steps = std::move(steps), coefficients, x = Saved(x), output = Saved(output)](
                    const Tensor& dx0, Gradients& grads) {
                  Tensor dx, doutput;
                  if (grads.wanted(0)) dx = Tensor::empty(dx0.shape(), dx0.dtype(), dx0.device());
                  if (grads.wanted(1)) doutput = Tensor::empty(dx0.shape(), dx0.dtype(), dx0.device());
                  kernels::predict_x0_backward(steps, x.get().view(), output.get().view(), dx0.view(),
                                               dx.view(), doutput.view(), coefficients.view());
                  if (dx.defined()) grads.add(0, dx);
                  if (doutput.defined()) grads.add(1, doutput);
                });
}

}  // namespace tw
