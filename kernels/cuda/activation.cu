// y = f(x) and dx = dy f'(x), the formulas of kernels/math/activation.h.
#include "kernels/cuda/map.h"
#include "kernels/math/activation.h"
#include "kernels/op/activation.h"

namespace tw::cuda {
namespace {

using kernels::Activation;
namespace math = kernels::math;

template <Activation kind, class V>
struct Value {
  V slope;
  __device__ V operator()(V x) const {
    if constexpr (kind == Activation::silu) return math::silu(x);
    if constexpr (kind == Activation::relu) return math::relu(x);
    if constexpr (kind == Activation::leaky_relu) return math::leaky_relu(x, slope);
    if constexpr (kind == Activation::gelu) return math::gelu(x);
    if constexpr (kind == Activation::gelu_tanh) return math::gelu_tanh(x);
    if constexpr (kind == Activation::tanh) return math::tanh(x);
    if constexpr (kind == Activation::sigmoid) return math::sigmoid(x);
    if constexpr (kind == Activation::softplus) return math::softplus(x);
  }
};

template <Activation kind, class V>
struct Gradient {
  V slope;
  __device__ V operator()(V x, V dy) const {
    if constexpr (kind == Activation::silu) return dy * math::silu_derivative(x);
    if constexpr (kind == Activation::relu) return dy * math::relu_derivative(x);
    if constexpr (kind == Activation::leaky_relu) return dy * math::leaky_relu_derivative(x, slope);
    if constexpr (kind == Activation::gelu) return dy * math::gelu_derivative(x);
    if constexpr (kind == Activation::gelu_tanh) return dy * math::gelu_tanh_derivative(x);
    if constexpr (kind == Activation::tanh) return dy * math::tanh_derivative(x);
    if constexpr (kind == Activation::sigmoid) return dy * math::sigmoid_derivative(x);
    if constexpr (kind == Activation::softplus) return dy * math::sigmoid(x);
  }
};

// Formula<kind, V> over the arrays.
template <template <Activation, class> class Formula, class... Inputs>
const char* run(const char* op, const kernels::ActivationParams& params, const View& y,
                const Inputs&... inputs) {
  return for_float(op, y.dtype, [&]<class T>(T) {
    using V = typename Element<T>::Value;
    const auto apply = [&]<Activation kind>(std::integral_constant<Activation, kind>) {
      return map<T>(op, Formula<kind, V>{static_cast<V>(params.negative_slope)}, y.numel(), y.pointer,
                    static_cast<const char*>(inputs.pointer)...);
    };
    switch (params.kind) {
      case Activation::silu:
        return apply(std::integral_constant<Activation, Activation::silu>{});
      case Activation::relu:
        return apply(std::integral_constant<Activation, Activation::relu>{});
      case Activation::leaky_relu:
        return apply(std::integral_constant<Activation, Activation::leaky_relu>{});
      case Activation::gelu:
        return apply(std::integral_constant<Activation, Activation::gelu>{});
      case Activation::gelu_tanh:
        return apply(std::integral_constant<Activation, Activation::gelu_tanh>{});
      case Activation::tanh:
        return apply(std::integral_constant<Activation, Activation::tanh>{});
      case Activation::sigmoid:
        return apply(std::integral_constant<Activation, Activation::sigmoid>{});
      case Activation::softplus:
        break;
    }
    return apply(std::integral_constant<Activation, Activation::softplus>{});
  });
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_activation_forward(const kernels::ActivationParams* params, const View* x,
                                          const View* y) {
  return run<Value>("activation_forward", *params, *y, *x);
}

TW_CUDA_EXPORT tw_cuda_activation_backward(const kernels::ActivationParams* params, const View* x,
                                           const View* dy, const View* dx) {
  return run<Gradient>("activation_backward", *params, *dx, *x, *dy);
}

}  // namespace tw::cuda
