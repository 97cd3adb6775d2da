#include "kernels/op/cuda.h"
#include "tensor/error.h"

namespace tw::kernels::cuda {

bool built() { return false; }

void activation_forward(const ActivationParams&, const View&, const View&) {
  throw Error(ErrorKind::data, "activation_forward: built without CUDA");
}

}  // namespace tw::kernels::cuda
