#include "kernels/cpu/isa/resize.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/map.h"

namespace tw::kernels {
namespace {

using TW_ISA::Compute;

template <class X, class Y>
void run_of(const X* x, const double* weight, int64_t taps, Y* y, int64_t inner) {
  using V = Compute<X>;
  for (int64_t i = 0; i < inner; i += V::lanes) {
    const int64_t left = inner - i < V::lanes ? inner - i : V::lanes;
    V sum(0);
    for (int64_t t = 0; t < taps; ++t) {
      const X* from = x + t * inner + i;
      sum = fma(V(weight[t]), left == V::lanes ? V::load(from) : V::load(from, left), sum);
    }
    if (left == V::lanes)
      sum.store(y + i);
    else
      sum.store(y + i, left);
  }
}

void run(DType x_type, DType y_type, const void* x, const double* weight, int64_t taps, void* y,
         int64_t inner) {
  auto as = [&]<class X, class Y>(X, Y) {
    run_of(static_cast<const X*>(x), weight, taps, static_cast<Y*>(y), inner);
  };
  const bool to_bf16 = y_type == DType::bf16;
  if (x_type == DType::f64) return as(double{}, double{});
  if (x_type == DType::bf16) return to_bf16 ? as(bf16{}, bf16{}) : as(bf16{}, float{});
  to_bf16 ? as(float{}, bf16{}) : as(float{}, float{});
}

}  // namespace

template <>
const ResizeKernels& kernels_of<ResizeKernels, Isa::TW_ISA>() {
  static const ResizeKernels kernels{run};
  return kernels;
}

}  // namespace tw::kernels
