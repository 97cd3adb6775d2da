// tf32: f32 inputs of products and convolutions rounded to ten bits of mantissa, for the matrix units; sums
// stay f32. Never unless asked: by TW_TF32 (other than 0) or tw_cuda_allow_tf32.
#pragma once

namespace tw::cuda {

bool tf32_allowed();

}  // namespace tw::cuda
