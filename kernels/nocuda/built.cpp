#include "kernels/op/cuda.h"

namespace tw::kernels::cuda {
bool built() { return false; }
}  // namespace tw::kernels::cuda
