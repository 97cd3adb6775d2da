// Whether f32 results must be those of the definition up to the rounding of its sums: with it on, no
// convolution goes through a Winograd transform, whose error is a few times larger (docs/handbook/
// convolution.md). A setting of the process, like the instruction set in kernels/cpu/isa.h.
#pragma once

namespace tw::kernels {

bool exact();  // off, unless TW_EXACT is set to other than 0
void set_exact(bool on);

}  // namespace tw::kernels
