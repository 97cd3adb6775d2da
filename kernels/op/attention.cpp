#include "kernels/op/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/attention.h"
#include "kernels/cpu/isa/attention_bf16.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
int64_t blocks_of(int64_t t) { return (t + attention_block - 1) / attention_block; }

// Scratch in bytes. A slot belongs to one thread, the matrices p and ds to one pair of the wave being worked
// on.
struct Sizes {
  bool dot = false;  // the forward pass multiplies bf16 by bf16
  int64_t row, width, pairs, items, slots, columns, rows, forward_slot, backward_slot, matrix, wave;

  Sizes(const AttentionParams& params, const Shape& q, const Shape& k, DType dtype) {
    const int64_t heads = std::max<int64_t>(1, params.heads), d = q[2] / heads, block = attention_block;
    const int64_t scalar = dtype == DType::f64 ? 8 : 4;
    const auto bytes = [&](int64_t count) { return round_up(count * scalar, 64); };
    // 16 more than the panels need: rows a power of two apart would share a few sets of the cache.
    row = round_up(k[1], widest_panel) + 16;
    width = round_up(d, widest_panel);
    pairs = q[0] * heads;
    items = pairs * blocks_of(q[1]);
    slots = std::min<int64_t>(std::max<int64_t>(1, items), thread_count());
    columns = bytes(row * d);
    rows = bytes(std::max(q[1], k[1]) * width);
    forward_slot = columns + rows + bytes(block * (d + row + width));
    dot = dtype == DType::bf16 && bf16_dot() != Bf16Dot::widen && d % dot_depth == 0;
    if (dot)
      forward_slot = round_up(2 * attention_panel_bytes(k[1], d) + attention_scratch_bytes(k[1], d), 64);
    backward_slot = 2 * std::max(columns, rows) + rows + bytes(block * (2 * d + width));
    matrix = bytes(q[1] * row);
    wave = std::min<int64_t>(std::max<int64_t>(1, pairs), thread_count());
  }
  int64_t forward() const { return slots * forward_slot; }
  int64_t backward() const { return slots * backward_slot + 2 * wave * matrix; }
};

void check_tokens(const char* op, const Argument& argument, const Shape& expected, DType dtype) {
  const View& v = argument.view;
  check(v.pointer != nullptr, op, argument.name, " is missing");
  check(v.device == Device::cpu, op, argument.name, " is on ", device_name(v.device));
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
  check(q.dtype == DType::f32 || q.dtype == DType::f64 || q.dtype == DType::bf16, op,
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
  check_dense(op, {"log_sum_exp", log_sum_exp});
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

// Deals `items` to `slots` threads; run(slot, begin, end) has the slot's scratch to itself.
template <class F>
void for_slots(int64_t slots, int64_t items, F&& run) {
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
  job.o = o;
  const OpTimer timer(
      op, [&] { return attention_forward_flops(in.q.shape, in.k.shape); }, in.q, in.k, in.v, o);
  const Sizes sizes(params, in.q.shape, in.k.shape, in.q.dtype);
  char* memory = check_workspace(op, workspace, sizes.forward());
  const int64_t blocks = blocks_of(job.tq);
  if (sizes.dot) {
    const AttentionBf16Kernels& kernels = active<AttentionBf16Kernels>();
    const int64_t panels = attention_panel_bytes(job.tk, job.d) / 2;
    return for_slots(sizes.slots, sizes.items, [&](int64_t slot, int64_t begin, int64_t end) {
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
  for_slots(sizes.slots, sizes.items, [&](int64_t slot, int64_t begin, int64_t end) {
    char* k_columns = memory + slot * sizes.forward_slot;
    char* v_rows = k_columns + sizes.columns;
    for (int64_t item = begin, packed = -1; item < end; ++item) {
      const int64_t pair = item / blocks;
      if (pair != packed) {
        kernels.pack_columns(job, in.k, pair, k_columns);
        kernels.pack_rows(job, in.v, pair, v_rows);
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
  job.d_o = d_o, job.gradients = gradients;
  const OpTimer timer(
      op, [&] { return 2.5 * attention_forward_flops(in.q.shape, in.k.shape); }, in.q, in.k, in.v, d_o,
      gradients.dq, gradients.dk, gradients.dv);
  const Sizes sizes(params, in.q.shape, in.k.shape, in.q.dtype);
  char* memory = check_workspace(op, workspace, sizes.backward());
  char* matrices = memory + sizes.slots * sizes.backward_slot;
  const AttentionKernels& kernels = active<AttentionKernels>();
  const int64_t query_blocks = blocks_of(job.tq), key_blocks = blocks_of(job.tk);

  // A wave is as many pairs as there are threads: first their query blocks, which leave p and ds in scratch,
  // then their key blocks, which sum over all queries in order.
  for (int64_t first = 0; first < sizes.pairs; first += sizes.wave) {
    const int64_t pairs = std::min(sizes.wave, sizes.pairs - first);
    const auto p = [&](int64_t pair) { return matrices + 2 * (pair - first) * sizes.matrix; };
    const int64_t step = std::max(sizes.columns, sizes.rows);
    for_slots(sizes.slots, pairs * query_blocks, [&](int64_t slot, int64_t begin, int64_t end) {
      char* k_columns = memory + slot * sizes.backward_slot;
      char *v_columns = k_columns + step, *k_rows = v_columns + step;
      for (int64_t item = begin, packed = -1; item < end; ++item) {
        const int64_t pair = first + item / query_blocks;
        if (pair != packed) {
          kernels.pack_columns(job, in.k, pair, k_columns);
          if (gradients.dq || gradients.dk) kernels.pack_columns(job, in.v, pair, v_columns);
          if (gradients.dq) kernels.pack_rows(job, in.k, pair, k_rows);
          packed = pair;
        }
        kernels.backward_queries(job, pair, item % query_blocks, k_columns, v_columns, k_rows, p(pair),
                                 p(pair) + sizes.matrix, k_rows + sizes.rows);
      }
    });
    if (!gradients.dk && !gradients.dv) continue;
    for_slots(sizes.slots, pairs * key_blocks, [&](int64_t slot, int64_t begin, int64_t end) {
      char* q_rows = memory + slot * sizes.backward_slot;
      char *d_o_rows = q_rows + step, *scratch = d_o_rows + step;
      for (int64_t item = begin, packed = -1; item < end; ++item) {
        const int64_t pair = first + item / key_blocks, block = item % key_blocks;
        if (pair != packed) {
          if (gradients.dk) kernels.pack_rows(job, in.q, pair, q_rows);
          if (gradients.dv) kernels.pack_rows(job, d_o, pair, d_o_rows);
          packed = pair;
        }
        if (gradients.dk)
          kernels.backward_keys(job, pair, block, p(pair) + sizes.matrix, q_rows, gradients.dk, scratch);
        if (gradients.dv) kernels.backward_keys(job, pair, block, p(pair), d_o_rows, gradients.dv, scratch);
      }
    });
  }
}

double attention_forward_flops(const Shape& q, const Shape& k) {
  return 4.0 * static_cast<double>(q.numel()) * static_cast<double>(k[1]);
}

}  // namespace tw::kernels
