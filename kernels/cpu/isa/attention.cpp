// Attention by blocks of 32 queries: scores = q k^T from panels of transposed k, softmax of whole rows,
// o = p v straight from the rows of v. Backward recomputes p from the log-sum-exp of each row.
//
// Every product is a register block of `rows` x 2 vectors that runs over its whole depth in registers, so an
// element's sum has one order, whatever block, batch or thread it falls in.
#include "kernels/cpu/isa/attention.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/vec.h"

namespace tw::kernels {
namespace {

using TW_ISA::Vec;

template <class T>
using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;
template <class V>
constexpr int64_t panel = 2 * V::lanes;

#if defined(__AVX512F__)
constexpr int register_rows = 8;  // 16 of 32 registers
#else
constexpr int register_rows = 4;  // 8 of 16
#endif

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// First element of row `token` of the pair's head.
template <class T>
T* row_of(const View& view, const AttentionJob& job, int64_t pair, int64_t token) {
  return static_cast<T*>(view.pointer) + pair / job.heads * view.strides[0] + token * view.strides[1] +
         pair % job.heads * job.d;
}

// A matrix operand whose element (i, l) is at i * row + l * step.
template <class R>
struct Left {
  const R* data;
  int64_t row, step;
};

// out(i, j, sum, lanes) for a block of `rows` x `vectors` of a b; b's row l is at b + l * b_row.
template <class V, int rows, int vectors, class R, class T, class Out>
TW_INLINE void multiply_block(const Left<R>& a, const T* b, int64_t b_row, int64_t depth, int64_t i,
                              int64_t j, int64_t lanes, Out out) {
  V sum[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sum[r][v] = V(0);
  const R* left = a.data + i * a.row;
  const T* right = b + j;
  for (int64_t l = 0; l < depth; ++l, left += a.step, right += b_row) {
    V column[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v)
      column[v] = lanes == V::lanes ? V::load(right + v * V::lanes) : V::load(right, lanes);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const V element(left[r * a.row]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[r][v] = fma(element, column[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) out(i + r, j + v * V::lanes, sum[r][v], lanes);
}

template <class V, int vectors, class R, class T, class Out>
TW_INLINE void multiply_columns(const Left<R>& a, int64_t m, const T* b, int64_t b_row, int64_t depth,
                                int64_t j, int64_t lanes, Out out) {
  int64_t i = 0;
  for (; i + register_rows <= m; i += register_rows)
    multiply_block<V, register_rows, vectors>(a, b, b_row, depth, i, j, lanes, out);
  for (; i < m; ++i) multiply_block<V, 1, vectors>(a, b, b_row, depth, i, j, lanes, out);
}

// The m x n product of a and b (both of `depth`), handed to `out` a vector at a time.
template <class V, class R, class T, class Out>
TW_INLINE void multiply(const Left<R>& a, int64_t m, const T* b, int64_t b_row, int64_t n, int64_t depth,
                        Out out) {
  int64_t j = 0;
  for (; j + 2 * V::lanes <= n; j += 2 * V::lanes)
    multiply_columns<V, 2>(a, m, b, b_row, depth, j, V::lanes, out);
  for (; j + V::lanes <= n; j += V::lanes) multiply_columns<V, 1>(a, m, b, b_row, depth, j, V::lanes, out);
  if (j < n) multiply_columns<V, 1>(a, m, b, b_row, depth, j, n - j, out);
}

// scores (m, row) = a times the panels.
template <class V, class R>
void multiply_panels(const AttentionJob& job, const Left<R>& a, int64_t m, const R* panels, R* scores) {
  for (int64_t j = 0; j < job.tk; j += panel<V>)
    multiply<V>(
        a, m, panels + j * job.d, panel<V>, panel<V>, job.d,
        [&](int64_t i, int64_t column, V sum, int64_t) { sum.store(scores + i * job.row + j + column); });
}

template <class T>
void pack_of(const AttentionJob& job, const View& view, int64_t pair, void* out) {
  using R = Real<T>;
  constexpr int64_t width = panel<Vec<R>>;
  R* to = static_cast<R*>(out);
  for (int64_t j = 0; j < job.tk; j += width, to += width * job.d) {
    const int64_t tokens = smaller(width, job.tk - j);
    for (int64_t token = 0; token < width; ++token) {
      if (token >= tokens) {
        for (int64_t l = 0; l < job.d; ++l) to[l * width + token] = 0;
        continue;
      }
      const T* from = row_of<T>(view, job, pair, j + token);
      for (int64_t l = 0; l < job.d; ++l) to[l * width + token] = static_cast<R>(from[l]);
    }
  }
}

// out (count, d) = factor * the rows from `first`, in the arithmetic type.
template <class T, class R>
void copy_rows(const AttentionJob& job, const View& view, int64_t pair, int64_t first, int64_t count,
               R factor, R* out) {
  for (int64_t i = 0; i < count; ++i) {
    const T* from = row_of<T>(view, job, pair, first + i);
    for (int64_t l = 0; l < job.d; ++l) out[i * job.d + l] = factor * static_cast<R>(from[l]);
  }
}

// What is not allowed, and the padding behind tk, becomes minus infinity.
template <class V, class R>
void mask_scores(const AttentionJob& job, int64_t pair, int64_t query, R* scores) {
  const R never = -static_cast<R>(__builtin_inf());
  if (job.in.mask) {
    const int64_t sample = job.in.mask.rank() == 3 ? pair / job.heads : 0;
    const uint8_t* allowed =
        static_cast<const uint8_t*>(job.in.mask.pointer) + (sample * job.tq + query) * job.tk;
    for (int64_t j = 0; j < job.tk; ++j) scores[j] = allowed[j] ? scores[j] : never;
  }
  const int64_t used = (job.tk + panel<V> - 1) / panel<V> * panel<V>;
  for (int64_t j = job.tk; j < used; ++j) scores[j] = never;
}

// e^(score - shift), and exactly 0 for minus infinity.
template <class V, class R>
TW_INLINE V probability(V score, V shift) {
  const V lowest(-static_cast<R>(std::is_same_v<R, double> ? 1.7e308 : 3.4e38));
  return select(score > lowest, exp(score - shift), V(0));
}

// scores = e^(score - max) of each of the row's tk; returns their sum and writes the log-sum-exp.
template <class V, class R>
R softmax_row(const AttentionJob& job, R* scores, R* log_sum_exp) {
  V largest(-static_cast<R>(__builtin_inf()));
  for (int64_t j = 0; j < job.tk; j += V::lanes) largest = max(largest, V::load(scores + j));
  R lane[V::lanes];
  largest.store(lane);
  R top = lane[0];
  for (int k = 1; k < V::lanes; ++k) top = lane[k] > top ? lane[k] : top;
  V sum(0);
  for (int64_t j = 0; j < job.tk; j += V::lanes) {
    const V p = probability<V, R>(V::load(scores + j), V(top));
    p.store(scores + j);
    sum += p;
  }
  const R total = sum.sum();
  *log_sum_exp = top + static_cast<R>(__builtin_log(static_cast<double>(total)));
  return total;
}

template <class T>
void forward_of(const AttentionJob& job, int64_t pair, int64_t block, const void* k_panels, void* scratch) {
  using R = Real<T>;
  using V = Vec<R>;
  const int64_t first = block * attention_block, count = smaller(attention_block, job.tq - first);
  R* q = static_cast<R*>(scratch);
  R* scores = q + attention_block * job.d;
  R* log_sum_exp = static_cast<R*>(job.log_sum_exp.pointer) + pair * job.tq + first;
  R inverse[attention_block];
  copy_rows<T>(job, job.in.q, pair, first, count, static_cast<R>(job.scale), q);
  multiply_panels<V, R>(job, {q, job.d, 1}, count, static_cast<const R*>(k_panels), scores);
  for (int64_t i = 0; i < count; ++i) {
    mask_scores<V>(job, pair, first + i, scores + i * job.row);
    const R total = softmax_row<V>(job, scores + i * job.row, log_sum_exp + i);
    inverse[i] = total > 0 ? 1 / total : R(0);
  }
  multiply<V>(Left<R>{scores, job.row, 1}, count, row_of<const T>(job.in.v, job, pair, 0),
              job.in.v.strides[1], job.d, job.tk, [&](int64_t i, int64_t j, V sum, int64_t lanes) {
                T* to = row_of<T>(job.o, job, pair, first + i) + j;
                const V value = sum * V(inverse[i]);
                lanes == V::lanes ? value.store(to) : value.store(to, lanes);
              });
}

template <class T>
void backward_queries_of(const AttentionJob& job, int64_t pair, int64_t block, const void* k_panels,
                         const void* v_panels, void* p_out, void* ds_out, void* scratch) {
  using R = Real<T>;
  using V = Vec<R>;
  const int64_t first = block * attention_block, count = smaller(attention_block, job.tq - first);
  R* q = static_cast<R*>(scratch);
  R* p = static_cast<R*>(p_out) + first * job.row;
  R* ds = static_cast<R*>(ds_out) + first * job.row;
  const R* log_sum_exp = static_cast<const R*>(job.log_sum_exp.pointer) + pair * job.tq + first;
  const bool scores_wanted = job.gradients.dq || job.gradients.dk;
  copy_rows<T>(job, job.in.q, pair, first, count, static_cast<R>(job.scale), q);
  multiply_panels<V, R>(job, {q, job.d, 1}, count, static_cast<const R*>(k_panels), p);
  if (scores_wanted) {
    R* d_o = q + attention_block * job.d;
    copy_rows<T>(job, job.d_o, pair, first, count, R(1), d_o);
    multiply_panels<V, R>(job, {d_o, job.d, 1}, count, static_cast<const R*>(v_panels), ds);
  }
  for (int64_t i = 0; i < count; ++i) {
    R* p_row = p + i * job.row;
    R* ds_row = ds + i * job.row;
    mask_scores<V>(job, pair, first + i, p_row);
    V products(0);
    for (int64_t j = 0; j < job.tk; j += V::lanes) {
      const V value = probability<V, R>(V::load(p_row + j), V(log_sum_exp[i]));
      value.store(p_row + j);
      if (scores_wanted) products = fma(value, V::load(ds_row + j), products);
    }
    if (!scores_wanted) continue;
    const V average(products.sum()), scale(static_cast<R>(job.scale));
    for (int64_t j = 0; j < job.tk; j += V::lanes)
      (V::load(p_row + j) * (V::load(ds_row + j) - average) * scale).store(ds_row + j);
  }
  if (!job.gradients.dq) return;
  multiply<V>(Left<R>{ds, job.row, 1}, count, row_of<const T>(job.in.k, job, pair, 0), job.in.k.strides[1],
              job.d, job.tk, [&](int64_t i, int64_t j, V sum, int64_t lanes) {
                T* to = row_of<T>(job.gradients.dq, job, pair, first + i) + j;
                lanes == V::lanes ? sum.store(to) : sum.store(to, lanes);
              });
}

// to rows [first, first + count) = matrix^T from, summed over all queries.
template <class T, class R>
void multiply_transposed(const AttentionJob& job, int64_t pair, int64_t first, int64_t count, const R* matrix,
                         const View& from, const View& to) {
  using V = Vec<R>;
  multiply<V>(Left<R>{matrix + first, 1, job.row}, count, row_of<const T>(from, job, pair, 0),
              from.strides[1], job.d, job.tq, [&](int64_t i, int64_t j, V sum, int64_t lanes) {
                T* out = row_of<T>(to, job, pair, first + i) + j;
                lanes == V::lanes ? sum.store(out) : sum.store(out, lanes);
              });
}

template <class T>
void backward_keys_of(const AttentionJob& job, int64_t pair, int64_t block, const void* p, const void* ds) {
  using R = Real<T>;
  const int64_t first = block * attention_block, count = smaller(attention_block, job.tk - first);
  if (job.gradients.dk)
    multiply_transposed<T>(job, pair, first, count, static_cast<const R*>(ds), job.in.q, job.gradients.dk);
  if (job.gradients.dv)
    multiply_transposed<T>(job, pair, first, count, static_cast<const R*>(p), job.d_o, job.gradients.dv);
}

template <class F>
TW_INLINE void with_type(const AttentionJob& job, F f) {
  switch (job.in.q.dtype) {
    case DType::f64:
      return f(double{});
    case DType::bf16:
      return f(bf16{});
    default:
      return f(float{});
  }
}

void pack(const AttentionJob& job, const View& rows, int64_t pair, void* out) {
  with_type(job, [&]<class T>(T) { pack_of<T>(job, rows, pair, out); });
}
void forward(const AttentionJob& job, int64_t pair, int64_t block, const void* k_panels, void* scratch) {
  with_type(job, [&]<class T>(T) { forward_of<T>(job, pair, block, k_panels, scratch); });
}
void backward_queries(const AttentionJob& job, int64_t pair, int64_t block, const void* k_panels,
                      const void* v_panels, void* p, void* ds, void* scratch) {
  with_type(
      job, [&]<class T>(T) { backward_queries_of<T>(job, pair, block, k_panels, v_panels, p, ds, scratch); });
}
void backward_keys(const AttentionJob& job, int64_t pair, int64_t block, const void* p, const void* ds) {
  with_type(job, [&]<class T>(T) { backward_keys_of<T>(job, pair, block, p, ds); });
}

}  // namespace

template <>
const AttentionKernels& kernels_of<AttentionKernels, Isa::TW_ISA>() {
  static const AttentionKernels kernels{pack, forward, backward_queries, backward_keys};
  return kernels;
}

}  // namespace tw::kernels
