// The CUDA side of the ops, one entry point each: kernels/cuda/entry.cpp calls the loaded backend,
// kernels/nocuda/entry.cpp, linked in its place where CUDA is not built, throws "built without CUDA".
#pragma once

#include "kernels/op/activation.h"

namespace tw::kernels::cuda {

// Whether this build has the CUDA backend (which does not mean that a device is there).
bool built();

// As kernels::activation_forward, on device views that have been checked.
void activation_forward(const ActivationParams& params, const View& x, const View& y);

}  // namespace tw::kernels::cuda
