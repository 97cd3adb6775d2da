// What a CUDA device can do at most, measured now: products of large square matrices (cuBLASLt, without
// tf32), and copies within its memory.
#pragma once

#include "kernels/cpu/machine_rates.h"

namespace tw::kernels {

// The best of five runs each, f32 and bf16. Matrices and arrays grow until a call takes half a millisecond,
// to 8192 x 8192 and 256 MiB at the most. Of one value: such cost a device less power than others, so the
// rates are upper bounds.
MachineRates measure_device_rates();

}  // namespace tw::kernels
