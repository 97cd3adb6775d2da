// o = softmax(scale q k^T) v, and its gradients with p recomputed from the log-sum-exp L of each row:
//   p = e^(s - L)   dp = d_o v^T   ds = scale p (dp - sum_j p dp)   dq = ds k   dk = ds^T q   dv = p^T d_o
//
// Blocks of 32 queries go twice over tiles of 128 keys: first for the scores and what a row needs of all of
// them, then for the weighted sums. Products are register blocks of up to 12 rows x 2 vectors: 175 GFLOP/s
// of 200 on one core. An element's sum is one chain in one order, whatever block, tile, batch or thread.
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
constexpr int most_rows = 12;  // 24 of 32 registers
#elif defined(__AVX2__)
constexpr int most_rows = 6;  // 12 of 16
#else
constexpr int most_rows = 4;
#endif
constexpr int fewer_rows(int rows) { return rows == 12 ? 8 : rows == 6 ? 4 : rows / 2; }

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

// c (rows x vectors) = [c +] a b, where b (depth, panel) is dense. Three rows share a pointer: base, base +
// row and base + 2 row are addresses of one instruction.
template <class V, int rows, int vectors, class R>
TW_INLINE void multiply_block(const R* a, int64_t a_row, int64_t a_step, const R* b, int64_t depth, R* c,
                              int64_t c_row, bool accumulate) {
  V sum[rows][vectors];
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sum[r][v] = accumulate ? V::load(c + r * c_row + v * V::lanes) : V(0);
  const R* base[(rows + 2) / 3];
#pragma GCC unroll 4
  for (int r = 0; r < rows; r += 3) base[r / 3] = a + r * a_row;
  for (int64_t l = 0; l < depth; ++l, b += panel<V>) {
    V column[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) column[v] = V::load(b + v * V::lanes);
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
      const V element(base[r / 3][r % 3 * a_row]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[r][v] = fma(element, column[v], sum[r][v]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < (rows + 2) / 3; ++i) base[i] += a_step;
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sum[r][v].store(c + r * c_row + v * V::lanes);
}

// Rows [i, m) in blocks of `rows`, the rest in smaller ones.
template <class V, int vectors, int rows = most_rows, class R>
TW_INLINE void multiply_panel(const Left<R>& a, int64_t i, int64_t m, const R* b, int64_t depth, R* c,
                              int64_t c_row, bool accumulate) {
  for (; i + rows <= m; i += rows)
    multiply_block<V, rows, vectors>(a.data + i * a.row, a.row, a.step, b, depth, c + i * c_row, c_row,
                                     accumulate);
  if constexpr (rows > 1)
    if (i < m) multiply_panel<V, vectors, fewer_rows(rows)>(a, i, m, b, depth, c, c_row, accumulate);
}

// c (m, n) = [c +] a times the rows [0, depth) of panels that have `stride` rows each. Rows of c are long
// enough for whole vectors.
template <class V, class R>
void multiply(const Left<R>& a, int64_t m, const R* panels, int64_t stride, int64_t n, int64_t depth, R* c,
              int64_t c_row, bool accumulate = false) {
  for (int64_t j = 0; j < n; j += panel<V>, panels += stride * panel<V>) {
    if (n - j > V::lanes)
      multiply_panel<V, 2>(a, 0, m, panels, depth, c + j, c_row, accumulate);
    else
      multiply_panel<V, 1>(a, 0, m, panels, depth, c + j, c_row, accumulate);
  }
}

template <class V, class T>
TW_INLINE V load(const T* from, int64_t count) {
  return count >= V::lanes ? V::load(from) : V::load(from, count);
}

// Swaps the off-diagonal blocks of `size` in each square of 2 size: one of the log2(lanes) steps of a
// transposition.
template <class V, int size>
TW_INLINE void swap_blocks(V (&rows)[V::lanes]) {
  typename V::Mask low, high;
  for (int k = 0; k < V::lanes; ++k) {
    low[k] = k & size ? V::lanes + k - size : k;
    high[k] = k & size ? V::lanes + k : k + size;
  }
#pragma GCC unroll 16
  for (int i = 0; i < V::lanes; ++i) {
    if (i & size) continue;
    const V a = rows[i], b = rows[i + size];
    rows[i] = V(__builtin_shuffle(a.native, b.native, low));
    rows[i + size] = V(__builtin_shuffle(a.native, b.native, high));
  }
}
template <class V>
TW_INLINE void transpose(V (&rows)[V::lanes]) {
  if constexpr (V::lanes >= 16) swap_blocks<V, 8>(rows);
  if constexpr (V::lanes >= 8) swap_blocks<V, 4>(rows);
  if constexpr (V::lanes >= 4) swap_blocks<V, 2>(rows);
  swap_blocks<V, 1>(rows);
}

template <class T>
void pack_columns_of(const AttentionJob& job, const View& view, int64_t pair, void* out) {
  using R = Real<T>;
  using V = Vec<R>;
  R* to = static_cast<R*>(out);
  for (int64_t j = 0; j < job.tk; j += panel<V>, to += panel<V> * job.d)
    for (int half = 0; half < 2; ++half)
      for (int64_t l = 0; l < job.d; l += V::lanes) {
        V rows[V::lanes];
        const int64_t first = j + half * V::lanes;
        for (int k = 0; k < V::lanes; ++k)
          rows[k] =
              first + k < job.tk ? load<V>(row_of<const T>(view, job, pair, first + k) + l, job.d - l) : V(0);
        transpose(rows);
        for (int64_t k = 0; k < smaller(V::lanes, job.d - l); ++k)
          rows[k].store(to + (l + k) * panel<V> + half * V::lanes);
      }
}

template <class T>
void pack_rows_of(const AttentionJob& job, const View& view, int64_t pair, TokenRange tokens, void* out) {
  using R = Real<T>;
  using V = Vec<R>;
  const int64_t rows = tokens.end - tokens.begin;
  for (int64_t token = tokens.begin; token < tokens.end; ++token) {
    const T* from = row_of<const T>(view, job, pair, token);
    R* to = static_cast<R*>(out) + (token - tokens.begin) * panel<V>;
    for (int64_t j = 0; j < job.d; j += V::lanes)
      load<V>(from + j, job.d - j).store(to + j / panel<V> * rows * panel<V> + j % panel<V>);
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

// Row `token` of the view = factor * from.
template <class T, class R>
void store_row(const AttentionJob& job, const View& view, int64_t pair, int64_t token, const R* from,
               R factor) {
  using V = Vec<R>;
  T* to = row_of<T>(view, job, pair, token);
  for (int64_t j = 0; j < job.d; j += V::lanes) {
    const V value = V::load(from + j) * V(factor);
    job.d - j >= V::lanes ? value.store(to + j) : value.store(to + j, job.d - j);
  }
}

// Of the row's scores of `keys`: what is not allowed, and the padding behind tk, becomes minus infinity.
template <class V, class R>
void mask_scores(const AttentionJob& job, int64_t pair, int64_t query, TokenRange keys, R* scores) {
  const R never = -static_cast<R>(__builtin_inf());
  if (job.in.mask) {
    const int64_t sample = job.in.mask.rank() == 3 ? pair / job.heads : 0;
    const uint8_t* allowed =
        static_cast<const uint8_t*>(job.in.mask.pointer) + (sample * job.tq + query) * job.tk;
    for (int64_t j = keys.begin; j < keys.end; ++j) scores[j] = allowed[j] ? scores[j] : never;
  }
  if (keys.end < job.tk) return;
  const int64_t used = (job.tk + panel<V> - 1) / panel<V> * panel<V>;
  for (int64_t j = job.tk; j < used; ++j) scores[j] = never;
}

// e^(score - shift), and exactly 0 for minus infinity.
template <class V, class R>
TW_INLINE V probability(V score, V shift) {
  const V lowest(-static_cast<R>(std::is_same_v<R, double> ? 1.7e308 : 3.4e38));
  return select(score > lowest, exp(score - shift), V(0));
}

template <class F>
TW_INLINE void for_tiles(const AttentionJob& job, F f) {
  int64_t key = 0;
  do {  // once also for no keys: sums are then zero
    f(TokenRange{key, smaller(job.tk, key + attention_tile)});
    key += attention_tile;
  } while (key < job.tk);
}

// scores of a tile = left columns, for rows of length d.
template <class V, class R>
TW_INLINE void tile_scores(const AttentionJob& job, const R* left, int64_t count, const void* columns,
                           TokenRange keys, R* scores) {
  multiply<V, R>({left, job.d, 1}, count, static_cast<const R*>(columns) + keys.begin * job.d, job.d,
                 keys.end - keys.begin, job.d, scores + keys.begin, job.row);
}

// sum (count, width) += the tile's weights times the rows.
template <class V, class R>
TW_INLINE void add_tile(const AttentionJob& job, const R* weights, int64_t count, const void* rows,
                        TokenRange keys, R* sum) {
  multiply<V, R>({weights + keys.begin, job.row, 1}, count,
                 static_cast<const R*>(rows) + keys.begin * panel<V>, job.tk, job.d, keys.end - keys.begin,
                 sum, job.width, keys.begin > 0);
}

template <class T>
void forward_of(const AttentionJob& job, int64_t pair, int64_t block, const void* k_columns,
                const void* v_rows, void* scratch) {
  using R = Real<T>;
  using V = Vec<R>;
  const int64_t first = block * attention_block, count = smaller(attention_block, job.tq - first);
  R* q = static_cast<R*>(scratch);
  R* scores = q + attention_block * job.d;
  R* o = scores + attention_block * job.row;
  R* log_sum_exp = static_cast<R*>(job.log_sum_exp.pointer) + pair * job.tq + first;
  V largest[attention_block], sum[attention_block];
  R top[attention_block];
  for (int64_t i = 0; i < count; ++i) largest[i] = V(-static_cast<R>(__builtin_inf())), sum[i] = V(0);
  copy_rows<T>(job, job.in.q, pair, first, count, static_cast<R>(job.scale), q);
  for_tiles(job, [&](TokenRange keys) {
    tile_scores<V, R>(job, q, count, k_columns, keys, scores);
    for (int64_t i = 0; i < count; ++i) {
      R* row = scores + i * job.row;
      mask_scores<V>(job, pair, first + i, keys, row);
      V most = largest[i];
      for (int64_t j = keys.begin; j < keys.end; j += V::lanes) most = max(most, V::load(row + j));
      largest[i] = most;
    }
  });
  for (int64_t i = 0; i < count; ++i) top[i] = largest[i].largest();
  for_tiles(job, [&](TokenRange keys) {
    for (int64_t i = 0; i < count; ++i) {
      R* row = scores + i * job.row;
      V total = sum[i];
      for (int64_t j = keys.begin; j < keys.end; j += V::lanes) {
        const V p = probability<V, R>(V::load(row + j), V(top[i]));
        p.store(row + j);
        total += p;
      }
      sum[i] = total;
    }
    add_tile<V, R>(job, scores, count, v_rows, keys, o);
  });
  for (int64_t i = 0; i < count; ++i) {
    const R total = sum[i].sum();
    log_sum_exp[i] = top[i] + static_cast<R>(__builtin_log(static_cast<double>(total)));
    store_row<T>(job, job.o, pair, first + i, o + i * job.width, total > 0 ? 1 / total : R(0));
  }
}

template <class T>
void backward_queries_of(const AttentionJob& job, int64_t pair, TokenRange queries, int64_t first,
                         const void* k_columns, const void* v_columns, const void* k_rows, void* p_out,
                         void* ds_out, void* scratch) {
  using R = Real<T>;
  using V = Vec<R>;
  const int64_t count = smaller(attention_block, queries.end - first);
  R* q = static_cast<R*>(scratch);
  R* d_o = q + attention_block * job.d;
  R* dq = d_o + attention_block * job.d;
  R* p = static_cast<R*>(p_out) + (first - queries.begin) * job.row;
  R* ds = static_cast<R*>(ds_out) + (first - queries.begin) * job.row;
  const R* log_sum_exp = static_cast<const R*>(job.log_sum_exp.pointer) + pair * job.tq + first;
  const bool scores_wanted = job.gradients.dq || job.gradients.dk;
  V products[attention_block];
  for (int64_t i = 0; i < count; ++i) products[i] = V(0);
  copy_rows<T>(job, job.in.q, pair, first, count, static_cast<R>(job.scale), q);
  if (scores_wanted) copy_rows<T>(job, job.d_o, pair, first, count, R(1), d_o);
  for_tiles(job, [&](TokenRange keys) {
    tile_scores<V, R>(job, q, count, k_columns, keys, p);
    if (scores_wanted) tile_scores<V, R>(job, d_o, count, v_columns, keys, ds);
    for (int64_t i = 0; i < count; ++i) {
      R* p_row = p + i * job.row;
      const R* dp_row = ds + i * job.row;
      mask_scores<V>(job, pair, first + i, keys, p_row);
      V sum = products[i];
      for (int64_t j = keys.begin; j < keys.end; j += V::lanes) {
        const V value = probability<V, R>(V::load(p_row + j), V(log_sum_exp[i]));
        value.store(p_row + j);
        if (scores_wanted) sum = fma(value, V::load(dp_row + j), sum);
      }
      products[i] = sum;
    }
  });
  if (!scores_wanted) return;
  const V scale(static_cast<R>(job.scale));
  for (int64_t i = 0; i < count; ++i) products[i] = V(products[i].sum());
  for_tiles(job, [&](TokenRange keys) {
    for (int64_t i = 0; i < count; ++i) {
      const R* p_row = p + i * job.row;
      R* ds_row = ds + i * job.row;
      for (int64_t j = keys.begin; j < keys.end; j += V::lanes)
        (V::load(p_row + j) * (V::load(ds_row + j) - products[i]) * scale).store(ds_row + j);
    }
    if (job.gradients.dq) add_tile<V, R>(job, ds, count, k_rows, keys, dq);
  });
  if (!job.gradients.dq) return;
  for (int64_t i = 0; i < count; ++i)
    store_row<T>(job, job.gradients.dq, pair, first + i, dq + i * job.width, R(1));
}

// The block's columns of the matrix are walked down in pieces of 128 rows, which fit L1.
template <class T>
void backward_keys_of(const AttentionJob& job, int64_t pair, TokenRange queries, int64_t block,
                      const void* matrix, const void* rows, const View& to, void* sums) {
  using R = Real<T>;
  using V = Vec<R>;
  constexpr int64_t piece = 128;
  const int64_t first = block * attention_block, count = smaller(attention_block, job.tk - first);
  const int64_t depth = queries.end - queries.begin;
  const R* from = static_cast<const R*>(matrix) + first;
  R* sum = static_cast<R*>(sums);
  for (int64_t query = 0; query < depth; query += piece)
    multiply<V, R>({from + query * job.row, 1, job.row}, count,
                   static_cast<const R*>(rows) + query * panel<V>, depth, job.d,
                   smaller(piece, depth - query), sum, job.width, queries.begin + query > 0);
  if (queries.end < job.tq) return;
  for (int64_t i = 0; i < count; ++i) store_row<T>(job, to, pair, first + i, sum + i * job.width, R(1));
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

void pack_columns(const AttentionJob& job, const View& rows, int64_t pair, void* out) {
  with_type(job, [&]<class T>(T) { pack_columns_of<T>(job, rows, pair, out); });
}
void pack_rows(const AttentionJob& job, const View& rows, int64_t pair, TokenRange tokens, void* out) {
  with_type(job, [&]<class T>(T) { pack_rows_of<T>(job, rows, pair, tokens, out); });
}
void forward(const AttentionJob& job, int64_t pair, int64_t block, const void* k_columns, const void* v_rows,
             void* scratch) {
  with_type(job, [&]<class T>(T) { forward_of<T>(job, pair, block, k_columns, v_rows, scratch); });
}
void backward_queries(const AttentionJob& job, int64_t pair, TokenRange queries, int64_t first,
                      const void* k_columns, const void* v_columns, const void* k_rows, void* p, void* ds,
                      void* scratch) {
  with_type(job, [&]<class T>(T) {
    backward_queries_of<T>(job, pair, queries, first, k_columns, v_columns, k_rows, p, ds, scratch);
  });
}
void backward_keys(const AttentionJob& job, int64_t pair, TokenRange queries, int64_t block,
                   const void* matrix, const void* rows, const View& to, void* sum) {
  with_type(job, [&]<class T>(T) { backward_keys_of<T>(job, pair, queries, block, matrix, rows, to, sum); });
}

}  // namespace

template <>
const AttentionKernels& kernels_of<AttentionKernels, Isa::TW_ISA>() {
  static const AttentionKernels kernels{pack_columns, pack_rows, forward, backward_queries, backward_keys};
  return kernels;
}

}  // namespace tw::kernels
