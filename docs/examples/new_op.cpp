// A differentiable op of one's own: y = x / (1 + |x|), dy/dx = 1 / (1 + |x|)^2. Any shape, f32 or f64.
#include <cmath>
#include <cstdio>

#include "autograd/gradient_check.h"

tw::Var softsign(const tw::Var& x) {
  tw::Tensor y = tw::Tensor::empty(x.shape(), x.dtype());
  tw::visit(x.dtype(), [&]<class T>(T) {
    if constexpr (std::is_floating_point_v<T>)
      for (int64_t i = 0; i < y.numel(); ++i)
        y.data<T>()[i] = x.value().data<T>()[i] / (1 + std::abs(x.value().data<T>()[i]));
  });
  if (!tw::wants_gradient({x})) return y;
  return tw::record("softsign", y, {x}, [saved = tw::Saved(x)](const tw::Tensor& dy, tw::Gradients& grads) {
    tw::Tensor dx = tw::Tensor::empty(dy.shape(), dy.dtype());
    tw::visit(dy.dtype(), [&]<class T>(T) {
      if constexpr (std::is_floating_point_v<T>)
        for (int64_t i = 0; i < dx.numel(); ++i) {
          const T d = 1 + std::abs(saved.get().data<T>()[i]);
          dx.data<T>()[i] = dy.data<T>()[i] / (d * d);
        }
    });
    grads.add(0, dx);
  });
}

int main() {
  const tw::Tensor x = tw::Tensor::from(std::vector<double>{-2, -0.5, 0.1, 3});
  const tw::GradientCheck result =
      tw::check_gradients([](const std::vector<tw::Var>& in) { return softsign(in[0]); }, {x});
  std::printf("largest difference from finite differences: %.1e\n", result.max_error);
  return result.max_error < 1e-8 ? 0 : 1;
}
