// Algorithm: as in attention.cpp by blocks of 32 queries, with q k^T and p v as bf16 products: the scores are
// f32, p is rounded to bf16 before it meets v, its sum is not. Scores and p lie as [panel of 32
// keys][query][32], which is how p is read as the left operand of p v.
#include "kernels/cpu/isa/attention_bf16.h"

#include "kernels/cpu/isa/dot_block.h"

namespace tw::kernels {
namespace {

using namespace TW_ISA;  // Vec, and blocks of products
using V = Vec<float>;

const bf16* row_of(const View& view, const AttentionJob& job, int64_t pair, int64_t token) {
  return static_cast<const bf16*>(view.pointer) + pair / job.heads * view.strides[0] +
         token * view.strides[1] + pair % job.heads * job.d;
}

void pack(const AttentionJob& job, int64_t pair, uint16_t* k_panels, uint16_t* v_panels) {
  for (int64_t token = 0; token < job.tk; token += dot_channels)
    for (int64_t l = 0; l < job.d; l += dot_depth, k_panels += step)
      pack_step(row_of(job.in.k, job, pair, token) + l, 1, job.in.k.strides[1], dot_depth, job.tk - token,
                k_panels);
  for (int64_t j = 0; j < job.d; j += dot_channels)
    for (int64_t token = 0; token < job.tk; token += dot_depth, v_panels += step)
      pack_step(row_of(job.in.v, job, pair, token) + j, job.in.v.strides[1], 1, job.tk - token, dot_channels,
                v_panels);
}

// Row `query` of scores to probabilities without their common factor 1 / sum, which is returned.
float softmax_row(const AttentionJob& job, int64_t pair, int64_t query, float* scores, uint16_t* p,
                  int64_t panel) {
  const float never = -__builtin_inff();
  const V scale(static_cast<float>(job.scale)), lowest(-3.4e38f);
  const uint8_t* allowed = nullptr;
  if (job.in.mask)
    allowed = static_cast<const uint8_t*>(job.in.mask.pointer) +
              ((job.in.mask.rank() == 3 ? pair / job.heads : 0) * job.tq + query) * job.tk;
  V largest(never);
  for (int64_t key = 0; key < job.tk; key += dot_channels) {
    float* row = scores + key / dot_channels * panel;
    for (int64_t j = 0; j < dot_channels; j += V::lanes) (V::load(row + j) * scale).store(row + j);
    if (allowed || job.tk - key < dot_channels)
      for (int64_t j = 0; j < dot_channels; ++j)
        if (key + j >= job.tk || (allowed && !allowed[key + j])) row[j] = never;
    for (int64_t j = 0; j < dot_channels; j += V::lanes) largest = max(largest, V::load(row + j));
  }
  const float top = largest.largest();
  V sum(0.0f);
  for (int64_t key = 0; key < job.tk; key += dot_channels)
    for (int64_t j = 0; j < dot_channels; j += V::lanes) {
      const int64_t at = key / dot_channels * panel + j;
      const V score = V::load(scores + at), e = select(score > lowest, exp(score - V(top)), V(0.0f));
      e.store(reinterpret_cast<bf16*>(p + at));
      sum += e;
    }
  const float total = sum.sum();
  static_cast<float*>(job.log_sum_exp.pointer)[pair * job.tq + query] =
      top + static_cast<float>(__builtin_log(static_cast<double>(total)));
  return total > 0 ? 1 / total : 0;
}

void forward(const AttentionJob& job, int64_t pair, int64_t block, const uint16_t* k_panels,
             const uint16_t* v_panels, void* scratch) {
  const int64_t first = block * attention_block;
  const int64_t count = job.tq - first < attention_block ? job.tq - first : attention_block;
  const int64_t d_blocks = job.d / dot_depth, t_blocks = (job.tk + dot_depth - 1) / dot_depth;
  constexpr int64_t panel = attention_rows * dot_depth;
  float* scores = static_cast<float*>(scratch);
  float* out = scores + t_blocks * panel;
  uint16_t* p = reinterpret_cast<uint16_t*>(out + panel);
  uint16_t* q = p + t_blocks * panel;
  for (int64_t i = 0; i < count; ++i) {
    const bf16* from = row_of(job.in.q, job, pair, first + i);
    for (int64_t l = 0; l < d_blocks; ++l)
      store_words(q + l * panel + i * dot_depth, load_pairs(from + l * dot_depth, ~__mmask32{0}));
  }
  const FlatSource source{.block_stride = panel};
  const Tiles tiles;
  for (int64_t key = 0; key < t_blocks; ++key)
    for (int64_t i = 0; i < count; i += block_positions)
      tiles.multiply(source, q + i * dot_depth, k_panels + key * d_blocks * step, d_blocks, 1, count - i,
                     scores + key * panel + i * dot_depth);
  float factor[attention_block];
  for (int64_t i = 0; i < count; ++i)
    factor[i] = softmax_row(job, pair, first + i, scores + i * dot_depth, p + i * dot_depth, panel);
  for (int64_t j = 0; j < d_blocks; ++j) {
    for (int64_t i = 0; i < count; i += block_positions)
      tiles.multiply(source, p + i * dot_depth, v_panels + j * t_blocks * step, t_blocks, 1, count - i,
                     out + i * dot_depth);
    for (int64_t i = 0; i < count; ++i) {
      bf16* to = const_cast<bf16*>(row_of(job.o, job, pair, first + i)) + j * dot_channels;
      for (int64_t c = 0; c < dot_channels; c += V::lanes)
        (V::load(out + i * dot_depth + c) * V(factor[i])).store(to + c);
    }
  }
}

}  // namespace

template <>
const AttentionBf16Kernels& kernels_of<AttentionBf16Kernels, Isa::TW_ISA>() {
  static const AttentionBf16Kernels kernels{pack, forward};
  return kernels;
}

}  // namespace tw::kernels
