#include "kernels/cpu/isa/accumulate.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/vec.h"

namespace tw::kernels {
namespace {

using TW_ISA::Vec;

template <class T>
void run_of(const View& x, const View& y, int64_t begin, int64_t end) {
  using V = Vec<std::conditional_t<std::is_same_v<T, double>, double, float>>;
  const T* in = static_cast<const T*>(x.pointer);
  T* out = static_cast<T*>(y.pointer);
  int64_t i = begin;
  for (; i + V::lanes <= end; i += V::lanes) (V::load(out + i) + V::load(in + i)).store(out + i);
  if (i < end) (V::load(out + i, end - i) + V::load(in + i, end - i)).store(out + i, end - i);
}

void run(const View& x, const View& y, int64_t begin, int64_t end) {
  switch (x.dtype) {
    case DType::f64:
      return run_of<double>(x, y, begin, end);
    case DType::bf16:
      return run_of<bf16>(x, y, begin, end);
    default:
      return run_of<float>(x, y, begin, end);
  }
}

}  // namespace

template <>
const AccumulateKernels& kernels_of<AccumulateKernels, Isa::TW_ISA>() {
  static const AccumulateKernels kernels{run};
  return kernels;
}

}  // namespace tw::kernels
