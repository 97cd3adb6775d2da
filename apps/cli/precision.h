// --precision of the binaries.
#pragma once

#include <string>

#include "apps/cli/options.h"
#include "tensor/device.h"
#include "tensor/dtype.h"

namespace tw {

void add_precision(Options& options, std::string& name, const std::string& help);

// The type of --precision `name` on that device. Throws Error{usage} for f16 on the CPU, which has kernels
// for f32 and bf16, and for another name.
DType precision_dtype(const std::string& name, Device device);

}  // namespace tw
