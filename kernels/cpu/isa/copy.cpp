#include "kernels/cpu/isa/copy.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/vec.h"

namespace tw::kernels {
namespace {

using V = TW_ISA::Vec<float>;

template <class From, class To>
void cast(const From* x, To* y, int64_t count) {
  int64_t i = 0;
  for (; i + V::lanes <= count; i += V::lanes) V::load(x + i).store(y + i);
  if (i < count) V::load(x + i, count - i).store(y + i, count - i);
}

}  // namespace

template <>
const CastKernels& kernels_of<CastKernels, Isa::TW_ISA>() {
  static const CastKernels kernels{cast<float, bf16>, cast<bf16, float>};
  return kernels;
}

}  // namespace tw::kernels
