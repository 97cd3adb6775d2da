// y = f(x) and dx = dy f'(x) of the elementwise functions of kernels/op/unary.h.
#include "kernels/cuda/map.h"
#include "kernels/math/scalar.h"
#include "kernels/op/unary.h"

namespace tw::cuda {
namespace {

using kernels::Unary;
namespace math = kernels::math;

template <class T>
const char* forward(const kernels::UnaryParams& params, const View& x, const View& y) {
  using V = typename Element<T>::Value;
  const V a = static_cast<V>(params.a), b = static_cast<V>(params.b);
  const auto apply = [&](auto f) {
    return map<T>("unary_forward", f, x.numel(), y.pointer, static_cast<const char*>(x.pointer));
  };
  switch (params.kind) {
    case Unary::affine:
      return apply([=] __device__(V v) { return math::fma(v, a, b); });
    case Unary::exp:
      return apply([] __device__(V v) { return math::exp(v); });
    case Unary::log:
      return apply([] __device__(V v) { return math::log(v); });
    case Unary::sqrt:
      return apply([] __device__(V v) { return math::sqrt(v); });
    case Unary::square:
      return apply([] __device__(V v) { return v * v; });
    case Unary::abs:
      return apply([] __device__(V v) { return math::abs(v); });
    case Unary::clamp:
      break;
  }
  return apply([=] __device__(V v) { return math::min(math::max(v, a), b); });
}

template <class T>
const char* backward(const kernels::UnaryParams& params, const View& saved, const View& dy, const View& dx) {
  using V = typename Element<T>::Value;
  const V a = static_cast<V>(params.a), b = static_cast<V>(params.b);
  const auto apply = [&](auto f) {
    return map<T>("unary_backward", f, dy.numel(), dx.pointer, static_cast<const char*>(saved.pointer),
                  static_cast<const char*>(dy.pointer));
  };
  switch (params.kind) {
    case Unary::affine:
      return map<T>(
          "unary_backward", [=] __device__(V g) { return g * a; }, dy.numel(), dx.pointer,
          static_cast<const char*>(dy.pointer));
    case Unary::exp:
      return apply([] __device__(V y, V g) { return g * y; });
    case Unary::log:
      return apply([] __device__(V x, V g) { return g / x; });
    case Unary::sqrt:
      return apply([] __device__(V y, V g) { return g / (y + y); });
    case Unary::square:
      return apply([] __device__(V x, V g) { return g * (x + x); });
    case Unary::abs:
      return apply([] __device__(V x, V g) { return g * (x > V(0) ? V(1) : x < V(0) ? V(-1) : x * V(0)); });
    case Unary::clamp:
      break;
  }
  return apply([=] __device__(V x, V g) { return x < a || x > b ? V(0) : g; });
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_unary_forward(const kernels::UnaryParams* params, const View* x, const View* y) {
  return for_float("unary_forward", x->dtype, [&]<class T>(T) { return forward<T>(*params, *x, *y); });
}

TW_CUDA_EXPORT tw_cuda_unary_backward(const kernels::UnaryParams* params, const View* saved, const View* dy,
                                      const View* dx) {
  return for_float("unary_backward", dy->dtype,
                   [&]<class T>(T) { return backward<T>(*params, *saved, *dy, *dx); });
}

}  // namespace tw::cuda
