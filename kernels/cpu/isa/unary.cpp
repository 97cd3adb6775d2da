#include "kernels/cpu/isa/unary.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/elementary.h"
#include "kernels/cpu/isa/map.h"

namespace tw::kernels {
namespace {

using TW_ISA::Compute;
using TW_ISA::map;

// Vec's exp saturates; this one reaches 0 and infinity.
template <class V>
TW_INLINE V full_exp(V x) {
  if constexpr (sizeof(x.native[0]) == sizeof(double)) return exp(x);
  return select(x > V(88.72284f), V(__builtin_inff()), select(x < V(-87.33655f), V(0), exp(x)));
}

template <class T>
void forward_of(const UnaryParams& params, const T* x, T* y, int64_t begin, int64_t end) {
  using V = Compute<T>;
  using S = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const V a(static_cast<S>(params.a)), b(static_cast<S>(params.b));
  switch (params.kind) {
    case Unary::affine:
      return map(x, y, begin, end, [=](V v) { return fma(v, a, b); });
    case Unary::exp:
      return map(x, y, begin, end, [](V v) { return full_exp(v); });
    case Unary::log:
      return map(x, y, begin, end, [](V v) { return log(v); });
    case Unary::sqrt:
      return map(x, y, begin, end, [](V v) { return sqrt(v); });
    case Unary::square:
      return map(x, y, begin, end, [](V v) { return v * v; });
    case Unary::abs:
      return map(x, y, begin, end, [](V v) { return abs(v); });
    case Unary::clamp:
      return map(x, y, begin, end, [=](V v) { return min(max(v, a), b); });
  }
}

template <class T>
void backward_of(const UnaryParams& params, const T* saved, const T* dy, T* dx, int64_t begin, int64_t end) {
  using V = Compute<T>;
  using S = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const V a(static_cast<S>(params.a)), b(static_cast<S>(params.b)), zero(S(0)), one(S(1));
  switch (params.kind) {
    case Unary::affine:
      return map(dy, dx, begin, end, [=](V g) { return g * a; });
    case Unary::exp:
      return map(saved, dy, dx, begin, end, [](V y, V g) { return g * y; });
    case Unary::log:
      return map(saved, dy, dx, begin, end, [](V x, V g) { return g / x; });
    case Unary::sqrt:
      return map(saved, dy, dx, begin, end, [](V y, V g) { return g / (y + y); });
    case Unary::square:
      return map(saved, dy, dx, begin, end, [](V x, V g) { return g * (x + x); });
    case Unary::abs:
      return map(saved, dy, dx, begin, end,
                 [=](V x, V g) { return g * select(x > zero, one, select(x < zero, -one, x * zero)); });
    case Unary::clamp:
      return map(saved, dy, dx, begin, end,
                 [=](V x, V g) { return select(x < a, zero, select(x > b, zero, g)); });
  }
}

void forward(const UnaryParams& params, DType dtype, const void* x, void* y, int64_t begin, int64_t end) {
  auto as = [&]<class T>(T) {
    forward_of<T>(params, static_cast<const T*>(x), static_cast<T*>(y), begin, end);
  };
  if (dtype == DType::f64) return as(double{});
  if (dtype == DType::bf16) return as(bf16{});
  as(float{});
}

void backward(const UnaryParams& params, DType dtype, const void* saved, const void* dy, void* dx,
              int64_t begin, int64_t end) {
  auto as = [&]<class T>(T) {
    backward_of<T>(params, static_cast<const T*>(saved), static_cast<const T*>(dy), static_cast<T*>(dx),
                   begin, end);
  };
  if (dtype == DType::f64) return as(double{});
  if (dtype == DType::bf16) return as(bf16{});
  as(float{});
}

}  // namespace

template <>
const UnaryKernels& kernels_of<UnaryKernels, Isa::TW_ISA>() {
  static const UnaryKernels kernels{forward, backward};
  return kernels;
}

}  // namespace tw::kernels
