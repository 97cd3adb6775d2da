// Attention for all heads of all samples where it is not one launch (attention_fused.h, attention_cudnn.h): s
// = scale q k^T, p = softmax(s + log mask), o = p v, the products by cuBLASLt on the views as they lie, the
// rows of s by kernels of ours. s (f32; f64 with f64) and p lie in scratch memory for at most 256 MiB of
// pairs of a sample and a head at a time, whose rows are independent.
//
// Backward: p from s and log_sum_exp, dv = p^T do, dp = do v^T, ds = p (dp - sum_j p dp), dq = scale ds k,
// dk = scale ds^T q.
#include <cmath>

#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/attention_fused.h"
#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/cublas_lt.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/scratch.h"
#include "kernels/math/scalar.h"
#include "kernels/op/attention.h"

namespace tw::cuda {
namespace {

constexpr int64_t scratch_bytes = int64_t{256} << 20;
constexpr int row_threads = 256;

// Pairs [first, first + count) of the n * heads, whose rows lie at one distance in every view.
struct Pairs {
  int64_t first, count, heads, tq, tk, d;
  double scale;
};

// Which keys a query may attend to; the mask may be absent or be one for all samples.
struct Mask {
  const uint8_t* pointer;
  bool of_sample;

  __device__ bool allows(int64_t sample, int64_t query, int64_t tq, int64_t key, int64_t tk) const {
    return !pointer || pointer[((of_sample ? sample * tq : 0) + query) * tk + key];
  }
};

// One block a row of s: p and the logarithm of the sum of exponentials.
template <class T>
__global__ void softmax_rows(Pairs at, Mask mask, const typename Element<T>::Value* s,
                             typename Element<T>::Memory* p, typename Element<T>::Value* log_sum_exp) {
  using V = typename Element<T>::Value;
  const int64_t row = blockIdx.x, pair = at.first + row / at.tq, query = row % at.tq;
  const int64_t sample = pair / at.heads;
  s += row * at.tk, p += row * at.tk;
  const V lowest = -static_cast<V>(INFINITY);
  V largest = lowest, sum = 0;
  for (int64_t j = threadIdx.x; j < at.tk; j += blockDim.x)
    if (mask.allows(sample, query, at.tq, j, at.tk)) largest = Larger<V>()(largest, s[j]);
  largest = over_block<Larger<V>>(largest, lowest);
  for (int64_t j = threadIdx.x; j < at.tk; j += blockDim.x)
    if (mask.allows(sample, query, at.tq, j, at.tk)) sum += kernels::math::exp(s[j] - largest);
  sum = over_block<Plus<V>>(sum, V(0));
  for (int64_t j = threadIdx.x; j < at.tk; j += blockDim.x) {
    const bool allowed = mask.allows(sample, query, at.tq, j, at.tk);
    p[j] = Element<T>::store(allowed ? kernels::math::exp(s[j] - largest) / sum : V(0));
  }
  if (threadIdx.x == 0) log_sum_exp[pair * at.tq + query] = sum > V(0) ? largest + log(sum) : lowest;
}

template <class V>
__device__ V probability(bool allowed, V s, V log_sum_exp) {
  return allowed ? kernels::math::exp(s - log_sum_exp) : V(0);
}

// The probabilities again, from what forward left.
template <class T>
__global__ void probabilities(Pairs at, Mask mask, const typename Element<T>::Value* s,
                              const typename Element<T>::Value* log_sum_exp, typename Element<T>::Memory* p) {
  const int64_t row = blockIdx.x, pair = at.first + row / at.tq, query = row % at.tq;
  const auto shift = log_sum_exp[pair * at.tq + query];
  for (int64_t j = threadIdx.x; j < at.tk; j += blockDim.x)
    p[row * at.tk + j] = Element<T>::store(
        probability(mask.allows(pair / at.heads, query, at.tq, j, at.tk), s[row * at.tk + j], shift));
}

template <class T>
__global__ void score_gradients(Pairs at, Mask mask, const typename Element<T>::Value* s,
                                const typename Element<T>::Value* log_sum_exp,
                                const typename Element<T>::Value* dp, typename Element<T>::Memory* ds) {
  using V = typename Element<T>::Value;
  const int64_t row = blockIdx.x, pair = at.first + row / at.tq, query = row % at.tq;
  const V shift = log_sum_exp[pair * at.tq + query];
  const auto p = [&](int64_t j) {
    return probability(mask.allows(pair / at.heads, query, at.tq, j, at.tk), s[row * at.tk + j], shift);
  };
  V sum = 0;
  for (int64_t j = threadIdx.x; j < at.tk; j += blockDim.x) sum += p(j) * dp[row * at.tk + j];
  sum = over_block<Plus<V>>(sum, V(0));
  for (int64_t j = threadIdx.x; j < at.tk; j += blockDim.x)
    ds[row * at.tk + j] = Element<T>::store(p(j) * (dp[row * at.tk + j] - sum));
}

// The (t, d) matrices of the pairs: heads of one sample, or samples of one head.
Matrices tokens(const View& v, const Pairs& at) {
  const int64_t offset = at.first / at.heads * v.strides[0] + at.first % at.heads * at.d;
  return {static_cast<char*>(v.pointer) + offset * static_cast<int64_t>(dtype_size(v.dtype)), v.strides[1],
          at.heads == 1 ? v.strides[0] : at.d};
}

struct Factor {
  Matrices at;
  bool transposed = false;
};

// c (m, n) = alpha a b for each pair; a and b of `inputs`, c of `output`.
void product(const char* op, const Pairs& at, double alpha, DType inputs, Factor a, Factor b, DType output,
             Matrices c, int64_t m, int64_t n, int64_t k) {
  Product p;
  p.inputs = inputs, p.output = output;
  p.m = m, p.n = n, p.k = k, p.count = at.count;
  p.alpha = alpha;
  p.a = a.at, p.transpose_a = a.transposed;
  p.b = b.at, p.transpose_b = b.transposed;
  p.c = c;
  multiply(op, p);
}

// Calls f(pairs) for all pairs, as many at a time as lie at one distance and `bytes_of_pair` allows.
template <class F>
void for_pairs(const kernels::AttentionParams& params, const View& q, const View& k, int64_t bytes_of_pair,
               F f) {
  const int64_t n = q.shape[0], heads = params.heads, d = q.shape[2] / heads;
  const double scale = params.scale != 0 ? params.scale : 1 / std::sqrt(static_cast<double>(d));
  const int64_t most = std::max<int64_t>(1, scratch_bytes / std::max<int64_t>(1, bytes_of_pair));
  for (int64_t first = 0; first < n * heads;) {
    const int64_t left = heads == 1 ? n - first : heads - first % heads;
    const int64_t count = std::min(left, most);
    f(Pairs{first, count, heads, q.shape[1], k.shape[1], d, scale});
    first += count;
  }
}

template <class T>
struct Rows {  // (count, tq, tk) in scratch memory
  Rows(const char* op, const Pairs& at)
      : memory(op, static_cast<size_t>(at.count * at.tq * at.tk) * sizeof(T)) {}
  T* get() const { return static_cast<T*>(memory.get()); }
  Matrices matrices(const Pairs& at) const { return {memory.get(), at.tk, at.tq * at.tk}; }
  Scratch memory;
};

}  // namespace

TW_CUDA_EXPORT tw_cuda_attention_forward(const kernels::AttentionParams* params,
                                         const kernels::AttentionInputs* in, const View* o,
                                         const View* log_sum_exp) {
  return caught([&] {
    const View &q = in->q, &k = in->k;
    if (o->numel() == 0 || k.shape[1] == 0) return;
    if (attention_is_fused(q.dtype, k.shape[1], q.shape[2] / params->heads))
      return attention_fused(*params, *in, *o, *log_sum_exp);
    if (attention_by_cudnn(*params, *in, *o, *log_sum_exp)) return;
    const char* op = "attention_forward";
    const Mask mask{static_cast<const uint8_t*>(in->mask.pointer), in->mask.rank() == 3};
    require(for_float(op, q.dtype, [&]<class T>(T) -> const char* {
      using V = typename Element<T>::Value;
      using M = typename Element<T>::Memory;
      const DType wide = q.dtype == DType::f64 ? DType::f64 : DType::f32;
      const int64_t bytes = q.shape[1] * k.shape[1] * static_cast<int64_t>(sizeof(V) + sizeof(M));
      for_pairs(*params, q, k, bytes, [&](const Pairs& at) {
        const Rows<V> s(op, at);
        const Rows<M> p(op, at);
        product(op, at, at.scale, q.dtype, {tokens(q, at)}, {tokens(k, at), true}, wide, s.matrices(at),
                at.tq, at.tk, at.d);
        launch(softmax_rows<T>, static_cast<unsigned>(at.count * at.tq), row_threads, at, mask, s.get(),
               p.get(), static_cast<V*>(log_sum_exp->pointer));
        require(launched("softmax_rows"));
        product(op, at, 1, q.dtype, {p.matrices(at)}, {tokens(in->v, at)}, q.dtype, tokens(*o, at), at.tq,
                at.d, at.tk);
      });
      return nullptr;
    }));
  });
}

TW_CUDA_EXPORT tw_cuda_attention_backward(const kernels::AttentionParams* params,
                                          const kernels::AttentionInputs* in, const View* log_sum_exp,
                                          const View* d_o, const kernels::AttentionGradients* gradients) {
  return caught([&] {
    const View &q = in->q, &k = in->k, &v = in->v;
    if (q.numel() == 0 || k.shape[1] == 0) return;
    const char* op = "attention_backward";
    const Mask mask{static_cast<const uint8_t*>(in->mask.pointer), in->mask.rank() == 3};
    require(for_float(op, q.dtype, [&]<class T>(T) -> const char* {
      using V = typename Element<T>::Value;
      using M = typename Element<T>::Memory;
      const DType wide = q.dtype == DType::f64 ? DType::f64 : DType::f32;
      const V* shift = static_cast<const V*>(log_sum_exp->pointer);
      const int64_t bytes = q.shape[1] * k.shape[1] * static_cast<int64_t>(2 * sizeof(V) + sizeof(M));
      for_pairs(*params, q, k, bytes, [&](const Pairs& at) {
        const unsigned rows = static_cast<unsigned>(at.count * at.tq);
        const Rows<V> s(op, at), dp(op, at);
        const Rows<M> p(op, at);  // then ds
        product(op, at, at.scale, q.dtype, {tokens(q, at)}, {tokens(k, at), true}, wide, s.matrices(at),
                at.tq, at.tk, at.d);
        if (gradients->dv) {
          launch(probabilities<T>, rows, row_threads, at, mask, s.get(), shift, p.get());
          require(launched("probabilities"));
          product(op, at, 1, q.dtype, {p.matrices(at), true}, {tokens(*d_o, at)}, q.dtype,
                  tokens(gradients->dv, at), at.tk, at.d, at.tq);
        }
        if (!gradients->dq && !gradients->dk) return;
        product(op, at, 1, q.dtype, {tokens(*d_o, at)}, {tokens(v, at), true}, wide, dp.matrices(at), at.tq,
                at.tk, at.d);
        launch(score_gradients<T>, rows, row_threads, at, mask, s.get(), shift, dp.get(), p.get());
        require(launched("score_gradients"));
        if (gradients->dq)
          product(op, at, at.scale, q.dtype, {p.matrices(at)}, {tokens(k, at)}, q.dtype,
                  tokens(gradients->dq, at), at.tq, at.d, at.tk);
        if (gradients->dk)
          product(op, at, at.scale, q.dtype, {p.matrices(at), true}, {tokens(q, at)}, q.dtype,
                  tokens(gradients->dk, at), at.tk, at.d, at.tq);
      });
      return nullptr;
    }));
  });
}

}  // namespace tw::cuda
