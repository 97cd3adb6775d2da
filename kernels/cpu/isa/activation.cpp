#include "kernels/cpu/isa/activation.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/elementary.h"
#include "kernels/cpu/isa/map.h"
#include "kernels/math/activation.h"

namespace tw::kernels {
namespace {

using TW_ISA::Compute;
using TW_ISA::map;

template <class T>
void forward_of(const ActivationParams& params, const View& x, const View& y, int64_t begin, int64_t end) {
  using V = Compute<T>;
  const V slope(params.negative_slope);
  auto apply = [&](auto f) {
    map(static_cast<const T*>(x.pointer), static_cast<T*>(y.pointer), begin, end, f);
  };
  switch (params.kind) {
    case Activation::silu:
      return apply([](V v) { return math::silu(v); });
    case Activation::relu:
      return apply([](V v) { return math::relu(v); });
    case Activation::leaky_relu:
      return apply([=](V v) { return math::leaky_relu(v, slope); });
    case Activation::gelu:
      return apply([](V v) { return math::gelu(v); });
    case Activation::gelu_tanh:
      return apply([](V v) { return math::gelu_tanh(v); });
    case Activation::tanh:
      return apply([](V v) { return tanh(v); });
    case Activation::sigmoid:
      return apply([](V v) { return math::sigmoid(v); });
    case Activation::softplus:
      return apply([](V v) { return math::softplus(v); });
  }
}

template <class T>
void backward_of(const ActivationParams& params, const View& x, const View& dy, const View& dx, int64_t begin,
                 int64_t end) {
  using V = Compute<T>;
  const V slope(params.negative_slope);
  auto apply = [&](auto derivative) {
    map(static_cast<const T*>(x.pointer), static_cast<const T*>(dy.pointer), static_cast<T*>(dx.pointer),
        begin, end, [=](V v, V g) { return g * derivative(v); });
  };
  switch (params.kind) {
    case Activation::silu:
      return apply([](V v) { return math::silu_derivative(v); });
    case Activation::relu:
      return apply([](V v) { return math::relu_derivative(v); });
    case Activation::leaky_relu:
      return apply([=](V v) { return math::leaky_relu_derivative(v, slope); });
    case Activation::gelu:
      return apply([](V v) { return math::gelu_derivative(v); });
    case Activation::gelu_tanh:
      return apply([](V v) { return math::gelu_tanh_derivative(v); });
    case Activation::tanh:
      return apply([](V v) { return math::tanh_derivative(v); });
    case Activation::sigmoid:
      return apply([](V v) { return math::sigmoid_derivative(v); });
    case Activation::softplus:
      return apply([](V v) { return math::sigmoid(v); });
  }
}

void forward(const ActivationParams& params, const View& x, const View& y, int64_t begin, int64_t end) {
  switch (x.dtype) {
    case DType::f64:
      return forward_of<double>(params, x, y, begin, end);
    case DType::bf16:
      return forward_of<bf16>(params, x, y, begin, end);
    default:
      return forward_of<float>(params, x, y, begin, end);
  }
}

void backward(const ActivationParams& params, const View& x, const View& dy, const View& dx, int64_t begin,
              int64_t end) {
  switch (x.dtype) {
    case DType::f64:
      return backward_of<double>(params, x, dy, dx, begin, end);
    case DType::bf16:
      return backward_of<bf16>(params, x, dy, dx, begin, end);
    default:
      return backward_of<float>(params, x, dy, dx, begin, end);
  }
}

}  // namespace

template <>
const ActivationKernels& kernels_of<ActivationKernels, Isa::TW_ISA>() {
  static const ActivationKernels kernels{forward, backward};
  return kernels;
}

}  // namespace tw::kernels
