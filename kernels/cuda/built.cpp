#include "kernels/op/cuda.h"

namespace tw::kernels::cuda {
bool built() { return true; }
}  // namespace tw::kernels::cuda
