// Attention forward in 16 bits as one launch of cuDNN: its flash attention on the matrix units.
#pragma once

#include "kernels/op/attention.h"

namespace tw::cuda {

// Forward as kernels/op/attention.h has it, on the views as they lie. False, and nothing done, where there is
// a mask, where heads do not have a multiple of 8 up to 256 channels, and where cuDNN has no engine.
//
// The arithmetic, for an H200's 400 TFLOP/s of bf16 (half the matrix units' rate), 4.8 TB/s and 2.5 us a
// launch; a score is one query with one key:
//   three launches: 4 d operations, 0.6 ps at d = 64 and 2.6 ps at d = 256, and 12 bytes of scores and
//     probabilities, 2.5 ps; one launch saves those, and two launches.
// 256 images of DDPM's 16 x 16 tokens with one head of 256 channels: 46 us instead of 93; one image: 3 instead of 8.
// The plan is the heuristics' first: each candidate takes cuDNN a second to compile.
// Throws tw::Error where cuDNN fails.
bool attention_by_cudnn(const kernels::AttentionParams& params, const kernels::AttentionInputs& in,
                        const View& o, const View& log_sum_exp);

}  // namespace tw::cuda
