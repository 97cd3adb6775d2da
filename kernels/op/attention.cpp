#include "kernels/op/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/attention.h"
#include "kernels/cpu/isa/attention_bf16.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
int64_t blocks_of(int64_t t) { return (t + attention_block - 1) / attention_block; }

// Scratch in bytes. A slot belongs to one thread, p and ds to one pair of a wave, which is as many pairs as
// there are threads. Each slot packs what it multiplies by: panels from another core's cache took 1.3x.
struct Sizes {
  bool dot = false;  // the forward pass multiplies bf16 by bf16
  bool once;         // the backward pass takes all queries of a pair in one go
  int64_t row, width, pairs, wave, slots, columns, rows, forward_slot;
  int64_t queries;  // of a pair that the backward pass works on between two joins
  int64_t matrix, sums, query_rows, backward_columns, backward_pair, backward_slot;

  Sizes(const AttentionParams& params, const Shape& q, const Shape& k, DType dtype) {
    const int64_t heads = std::max<int64_t>(1, params.heads), d = q[2] / heads, block = attention_block;
    const int64_t scalar = dtype == DType::f64 ? 8 : 4, threads = thread_count();
    const auto bytes = [&](int64_t count) { return round_up(count * scalar, 64); };
    // 16 more than the panels need: rows a power of two apart would share a few sets of the cache.
    row = round_up(k[1], widest_panel) + 16;
    width = round_up(d, widest_panel);
    pairs = q[0] * heads;
    wave = std::clamp<int64_t>(pairs, 1, threads);
    slots = std::max<int64_t>(1, std::min(threads, wave * std::max(blocks_of(q[1]), blocks_of(k[1]))));
    columns = bytes(row * d), rows = bytes(k[1] * width);
    forward_slot = columns + rows + bytes(block * (d + row + width));
    dot = dtype == DType::bf16 && bf16_dot() != Bf16Dot::widen && d % dot_depth == 0;
    if (dot)
      forward_slot = round_up(2 * attention_panel_bytes(k[1], d) + attention_scratch_bytes(k[1], d), 64);

    // 512 KiB of p, and two blocks a thread. Sums go on where they stopped: no bit depends on this number.
    queries = std::max(attention_matrix_bytes / (row * scalar) / block * block,
                       std::max<int64_t>(128, (2 * threads + wave - 1) / wave * block));
    once = queries >= q[1];
    const int64_t ranges = std::max<int64_t>(1, (q[1] + queries - 1) / queries);
    queries = round_up((q[1] + ranges - 1) / ranges, block);
    matrix = bytes(queries * row), query_rows = bytes(queries * width);
    backward_columns = once ? std::max(columns, query_rows) : columns;  // of the two that take turns
    sums = once ? 0 : bytes(round_up(k[1], block) * width);
    backward_pair = 2 * (matrix + sums);
    backward_slot =
        64 + 2 * backward_columns + rows + (once ? 0 : 2 * query_rows) + bytes(block * (2 * d + width));
  }
  int64_t forward() const { return slots * forward_slot; }
  int64_t backward() const { return slots * backward_slot + wave * backward_pair; }
};

// A thread's scratch in the backward pass. q_rows and d_o_rows take the place of the columns where those are
// needed no more.
struct BackwardSlot {
  int64_t* packed;  // the pair whose k and v lie in:
  char *k_columns, *v_columns, *k_rows, *q_rows, *d_o_rows, *scratch;
};

void check_tokens(const char* op, const Argument& argument, const Shape& expected, DType dtype) {
  const View& v = argument.view;
  check(v.pointer != nullptr, op, argument.name, " is missing");
  check_shape(op, argument, expected);
  check_dtype(op, argument, dtype);
  check(expected.back() <= 1 || v.strides[2] == 1, op, argument.name,
        " must be dense in its last dimension, its strides are ", v.strides);
}

AttentionJob make_job(const char* op, const AttentionParams& params, const AttentionInputs& in,
                      const View& log_sum_exp) {
  const View &q = in.q, &k = in.k;
  check(q.pointer && k.pointer && q.rank() == 3 && k.rank() == 3, op, "q and k must be (n, t, c), found ",
        q.shape, " and ", k.shape);
  const Device device =
      device_of(op, {{"q", q}, {"k", k}, {"v", in.v}, {"mask", in.mask}, {"log_sum_exp", log_sum_exp}});
  const bool half = device == Device::cuda && q.dtype == DType::f16;
  check(q.dtype == DType::f32 || q.dtype == DType::f64 || q.dtype == DType::bf16 || half, op,
        "q must be f32, f64 or bf16, found ", dtype_name(q.dtype));
  check(params.heads >= 1 && q.dim(2) % params.heads == 0, op, "heads = ", params.heads,
        " does not divide the ", q.dim(2), " channels of q");
  check_tokens(op, {"q", q}, q.shape, q.dtype);
  const Shape keys{q.dim(0), k.dim(1), q.dim(2)};
  check_tokens(op, {"k", k}, keys, q.dtype);
  check_tokens(op, {"v", in.v}, keys, q.dtype);
  if (in.mask) {
    const Shape one{q.dim(1), k.dim(1)}, each{q.dim(0), q.dim(1), k.dim(1)};
    check(in.mask.dtype == DType::u8 && in.mask.is_contiguous() &&
              (in.mask.shape == one || in.mask.shape == each),
          op, "mask must be contiguous u8 ", one, " or ", each, ", found ", dtype_name(in.mask.dtype), " ",
          in.mask.shape);
  }
  check_dense(op, {"log_sum_exp", log_sum_exp}, device);
  check_shape(op, {"log_sum_exp", log_sum_exp}, {q.dim(0), params.heads, q.dim(1)});
  check_dtype(op, {"log_sum_exp", log_sum_exp}, q.dtype == DType::f64 ? DType::f64 : DType::f32);

  AttentionJob job;
  job.in = in, job.log_sum_exp = log_sum_exp;
  job.heads = params.heads, job.tq = q.dim(1), job.tk = k.dim(1), job.d = q.dim(2) / params.heads;
  const Sizes sizes(params, q.shape, k.shape, q.dtype);
  job.row = sizes.row, job.width = sizes.width;
  job.scale = params.scale != 0 ? params.scale : 1 / std::sqrt(static_cast<double>(job.d));
  return job;
}

char* check_workspace(const char* op, const View& workspace, int64_t bytes) {
  check(workspace && workspace.numel() * static_cast<int64_t>(dtype_size(workspace.dtype)) >= bytes, op,
        "the workspace must have ", bytes, " bytes");
  return static_cast<char*>(workspace.pointer);
}

// Deals `items` to at most `slots` threads; run(slot, begin, end) has the slot's scratch to itself.
template <class F>
void for_slots(int64_t slots, int64_t items, F&& run) {
  slots = std::min(slots, items);
  parallel_for(slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot)
      run(slot, slot * items / slots, (slot + 1) * items / slots);
  });
}

}  // namespace

int64_t attention_forward_workspace_bytes(const AttentionParams& params, const Shape& q, const Shape& k,
                                          DType dtype) {
  check(q.rank() == 3 && k.rank() == 3, "attention", "q and k must be (n, t, c), found ", q, " and ", k);
  return std::max<int64_t>(64, Sizes(params, q, k, dtype).forward());
}

int64_t attention_backward_workspace_bytes(const AttentionParams& params, const Shape& q, const Shape& k,
                                           DType dtype) {
  check(q.rank() == 3 && k.rank() == 3, "attention", "q and k must be (n, t, c), found ", q, " and ", k);
  return std::max<int64_t>(64, Sizes(params, q, k, dtype).backward());
}

void attention_forward(const AttentionParams& params, const AttentionInputs& in, const View& o,
                       const View& log_sum_exp, const View& workspace) {
  const char* op = "attention_forward";
  AttentionJob job = make_job(op, params, in, log_sum_exp);
  check_tokens(op, {"o", o}, in.q.shape, in.q.dtype);
  const Device device = device_of(op, {{"q", in.q}, {"o", o}});
  job.o = o;
  const OpTimer timer(
      op, [&] { return attention_forward_flops(in.q.shape, in.k.shape); }, in.q, in.k, in.v, o);
  if (device == Device::cuda) return cuda::call("tw_cuda_attention_forward", params, in, o, log_sum_exp);
  const Sizes sizes(params, in.q.shape, in.k.shape, in.q.dtype);
  char* memory = check_workspace(op, workspace, sizes.forward());
  const int64_t blocks = blocks_of(job.tq);
  if (sizes.dot) {
    const AttentionBf16Kernels& kernels = active<AttentionBf16Kernels>();
    const int64_t panels = attention_panel_bytes(job.tk, job.d) / 2;
    return for_slots(sizes.slots, sizes.pairs * blocks, [&](int64_t slot, int64_t begin, int64_t end) {
      uint16_t* k_panels = reinterpret_cast<uint16_t*>(memory + slot * sizes.forward_slot);
      uint16_t* v_panels = k_panels + panels;
      for (int64_t item = begin, packed = -1; item < end; ++item) {
        const int64_t pair = item / blocks;
        if (pair != packed) kernels.pack(job, packed = pair, k_panels, v_panels);
        kernels.forward(job, pair, item % blocks, k_panels, v_panels, v_panels + panels);
      }
    });
  }
  const AttentionKernels& kernels = active<AttentionKernels>();
  const TokenRange keys{0, job.tk};
  for_slots(sizes.slots, sizes.pairs * blocks, [&](int64_t slot, int64_t begin, int64_t end) {
    char* k_columns = memory + slot * sizes.forward_slot;
    char* v_rows = k_columns + sizes.columns;
    for (int64_t item = begin, packed = -1; item < end; ++item) {
      const int64_t pair = item / blocks;
      if (pair != packed) {
        kernels.pack_columns(job, in.k, pair, k_columns);
        kernels.pack_rows(job, in.v, pair, keys, v_rows);
        packed = pair;
      }
      kernels.forward(job, pair, item % blocks, k_columns, v_rows, v_rows + sizes.rows);
    }
  });
}

void attention_backward(const AttentionParams& params, const AttentionInputs& in, const View& log_sum_exp,
                        const View& d_o, const AttentionGradients& gradients, const View& workspace) {
  const char* op = "attention_backward";
  AttentionJob job = make_job(op, params, in, log_sum_exp);
  check_tokens(op, {"d_o", d_o}, in.q.shape, in.q.dtype);
  if (gradients.dq) check_tokens(op, {"dq", gradients.dq}, in.q.shape, in.q.dtype);
  if (gradients.dk) check_tokens(op, {"dk", gradients.dk}, in.k.shape, in.q.dtype);
  if (gradients.dv) check_tokens(op, {"dv", gradients.dv}, in.k.shape, in.q.dtype);
  const Device device = device_of(
      op, {{"q", in.q}, {"d_o", d_o}, {"dq", gradients.dq}, {"dk", gradients.dk}, {"dv", gradients.dv}});
  job.d_o = d_o, job.gradients = gradients;
  const OpTimer timer(
      op, [&] { return 2.5 * attention_forward_flops(in.q.shape, in.k.shape); }, in.q, in.k, in.v, d_o,
      gradients.dq, gradients.dk, gradients.dv);
  if (device == Device::cuda)
    return cuda::call("tw_cuda_attention_backward", params, in, log_sum_exp, d_o, gradients);
  const Sizes sizes(params, in.q.shape, in.k.shape, in.q.dtype);
  char* memory = check_workspace(op, workspace, sizes.backward());
  const AttentionKernels& kernels = active<AttentionKernels>();
  const int64_t key_blocks = blocks_of(job.tk);
  const int64_t block_bytes = attention_block * job.width * (in.q.dtype == DType::f64 ? 8 : 4);
  const auto slot_of = [&](int64_t i) {
    char* at = memory + sizes.wave * sizes.backward_pair + i * sizes.backward_slot;
    BackwardSlot slot{reinterpret_cast<int64_t*>(at), at + 64, {}, {}, {}, {}, {}};
    slot.v_columns = slot.k_columns + sizes.backward_columns,
    slot.k_rows = slot.v_columns + sizes.backward_columns;
    slot.q_rows = sizes.once ? slot.k_columns : slot.k_rows + sizes.rows;
    slot.d_o_rows = sizes.once ? slot.v_columns : slot.q_rows + sizes.query_rows;
    slot.scratch = sizes.once ? slot.k_rows + sizes.rows : slot.d_o_rows + sizes.query_rows;
    return slot;
  };
  for (int64_t i = 0; i < sizes.slots; ++i) *slot_of(i).packed = -1;

  // A wave's queries, range by range: first the rows of p and ds of the range, then what all of them add to
  // each block of keys, in order.
  for (int64_t first = 0; first < sizes.pairs; first += sizes.wave)
    for (int64_t query = 0; query < job.tq; query += sizes.queries) {
      const int64_t pairs = std::min(sizes.wave, sizes.pairs - first);
      const TokenRange queries{query, std::min(job.tq, query + sizes.queries)};
      const int64_t query_blocks = blocks_of(queries.end - query);
      const auto p = [&](int64_t pair) { return memory + (pair - first) * sizes.backward_pair; };
      const auto ds = [&](int64_t pair) { return p(pair) + sizes.matrix; };
      for_slots(sizes.slots, pairs * query_blocks, [&](int64_t i, int64_t begin, int64_t end) {
        const BackwardSlot slot = slot_of(i);
        for (int64_t item = begin; item < end; ++item) {
          const int64_t pair = first + item / query_blocks;
          if (pair != *slot.packed) {
            kernels.pack_columns(job, in.k, pair, slot.k_columns);
            if (gradients.dq || gradients.dk) kernels.pack_columns(job, in.v, pair, slot.v_columns);
            if (gradients.dq) kernels.pack_rows(job, in.k, pair, {0, job.tk}, slot.k_rows);
            *slot.packed = pair;
          }
          kernels.backward_queries(job, pair, queries, query + item % query_blocks * attention_block,
                                   slot.k_columns, slot.v_columns, slot.k_rows, p(pair), ds(pair),
                                   slot.scratch);
        }
      });
      if (!gradients.dk && !gradients.dv) continue;
      for_slots(sizes.slots, pairs * key_blocks, [&](int64_t i, int64_t begin, int64_t end) {
        const BackwardSlot slot = slot_of(i);
        if (sizes.once) *slot.packed = -1;
        for (int64_t item = begin, packed = -1; item < end; ++item) {
          const int64_t pair = first + item / key_blocks, block = item % key_blocks;
          if (pair != packed) {
            if (gradients.dk) kernels.pack_rows(job, in.q, pair, queries, slot.q_rows);
            if (gradients.dv) kernels.pack_rows(job, d_o, pair, queries, slot.d_o_rows);
            packed = pair;
          }
          char* dk = sizes.once ? slot.scratch : ds(pair) + sizes.matrix + block * block_bytes;
          char* dv = sizes.once ? slot.scratch : dk + sizes.sums;
          if (gradients.dk)
            kernels.backward_keys(job, pair, queries, block, ds(pair), slot.q_rows, gradients.dk, dk);
          if (gradients.dv)
            kernels.backward_keys(job, pair, queries, block, p(pair), slot.d_o_rows, gradients.dv, dv);
        }
      });
    }
}

double attention_forward_flops(const Shape& q, const Shape& k) {
  return 4.0 * static_cast<double>(q.numel()) * static_cast<double>(k[1]);
}

}  // namespace tw::kernels
