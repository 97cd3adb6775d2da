// Attention in one launch: no score leaves the multiprocessor (Dao et al. 2022, FlashAttention, algorithm 1;
// the sums go on over tiles of keys as Milakov & Gimelshein 2018 do it).
#pragma once

#include "kernels/op/attention.h"

namespace tw::cuda {

// Whether it is used, by the shape of one head alone, so that an image's bits do not depend on the batch. The
// arithmetic, for an H200's 67 TFLOP/s of f32 multiply-adds (half of them reached), 4.8 TB/s and 2.5 us a
// launch; a score is one query with one key:
//   three launches, f32: 4 d operations as here, and 16 bytes of scores and probabilities: 4 ps beside the
//     8 ps of d = 64. One launch saves them, and two launches.
//   16 bits: the matrix units need 0.6 ps for the 4 d operations and the 12 bytes 2.5 ps, against 8 ps here.
//     One launch is faster only while launches are what counts: up to 64 keys (a tile takes 2 us). Beyond,
//     attention_cudnn.h.
//   f32, d = 256: 31 ps here, 20 by cuBLASLt at 80 % of the multiply-adds and 4 for the scores. One image of
//     256 tokens has 8 tiles, of 20 us each at least; with 8 queries to a tile there are 32, but what they
//     read of keys and values through shared memory takes 10 us, and from L2 as much as that: no less than
//     the three launches' 15 or so. Up to 64 channels, then.
bool attention_is_fused(DType dtype, int64_t keys, int64_t channels_a_head);

// Forward as kernels/op/attention.h has it. Throws tw::Error.
void attention_fused(const kernels::AttentionParams& params, const kernels::AttentionInputs& in,
                     const View& o, const View& log_sum_exp);

}  // namespace tw::cuda
