#include "autograd/ops/conv_transpose2d.h"

#include "autograd/workspace.h"
#include "kernels/op/pixel_sum.h"
#include "tensor/error.h"

namespace tw {
Var conv_transpose2d(const Var& x, const Var& w, const Var& bias,
                     const kernels::ConvTranspose2dParams& params) {
  check(x.defined() && w.defined(), "conv_transpose2d", x.defined() ? "w" : "x", " is undefined");
  const Tensor input = x.value().contiguous(), weight = w.value().contiguous();
  const Shape x_shape = x.shape(), w_shape = w.shape();
  const Tensor y =
      Tensor::empty(kernels::conv_transpose2d_output_shape(params, x_shape, w_shape), x.dtype(), x.device());
  {
    const Tensor scratch =
        workspace(kernels::conv_transpose2d_forward_workspace_bytes(params, x_shape, w_shape), x.device());
    kernels::conv_transpose2d_forward(params, input.view(), weight.view(),
                                      bias.defined() ? bias.value().view() : View{}, y.view(),
                                      scratch.view());
  }
  if (!wants_gradient({x, w, bias})) return Var(y);

  const Saved saved_x = w.requires_grad() ? Saved(input) : Saved();
  const Saved saved_w = x.requires_grad() ? Saved(weight) : Saved();
  return record("conv_transpose2d", y, {x, w, bias}, [=](const Tensor& dy, Gradients& grads) {
    const DType dtype = dy.dtype() == DType::f64 ? DType::f64 : DType::f32;
    if (grads.wanted(0)) {
      const Tensor dx = Tensor::empty(x_shape, dy.dtype(), dy.device());
      const Tensor scratch = workspace(
          kernels::conv_transpose2d_data_gradient_workspace_bytes(params, x_shape, w_shape), dy.device());
      kernels::conv_transpose2d_data_gradient(params, dy.view(), saved_w.get().view(), dx.view(),
                                              scratch.view());
      grads.add(0, dx);
    }
    if (grads.wanted(1)) {
      const Tensor dw = Tensor::empty(w_shape, dtype, dy.device());
      const Tensor scratch = workspace(
          kernels::conv_transpose2d_weight_gradient_workspace_bytes(params, x_shape, w_shape), dy.device());
      kernels::conv_transpose2d_weight_gradient(params, saved_x.get().view(), dy.view(), dw.view(),
                                                scratch.view());
      grads.add(1, dw);
    }
    if (grads.wanted(2)) {
      const int64_t channels = dy.dim(-1);
      const Tensor db = Tensor::empty({1, channels}, dtype, dy.device());
      kernels::pixel_sum(dy.reshape({1, dy.numel() / channels, channels}).view(), db.view());
      grads.add(2, db.reshape({channels}));
    }
  });
}

}  // namespace tw
