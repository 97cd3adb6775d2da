// A block of 128 threads has 32 queries of one head and goes through the keys 64 at a time:
//   s = scale q k^T;  m' = max(m, rows of s);  p = e^(s - m');  l' = e^(m - m') l + rows of p
//   o' = e^(m - m') o + p v                    in the end o / l, and m + log l for backward
//
// A thread has 4 queries (4 y ...) with 4 keys (x, x + 16, ...) of s, and with d / 16 channels of o, in
// registers; the 16 threads of a row of tiles are half a warp. Everything is summed in f32 by multiply-adds:
// 8 loads of 16 bytes from shared memory to 64 of them. Rows are 4 numbers longer than they need be, so that
// 8 threads that read 16 bytes each from 8 rows meet 32 different banks. p takes the place of k.
#include <cmath>

#include "kernels/cuda/attention_fused.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/scratch.h"
#include "kernels/math/scalar.h"

namespace tw::cuda {
namespace {

constexpr int queries = 32, keys = 64, columns = 16, rows = queries / 4;
constexpr int fused_threads = rows * columns;

template <class M>
struct Tokens {  // one view: the distance of samples and of tokens in elements
  M* pointer;
  int64_t sample, token;
  bool aligned;  // whether four channels can be read at once

  Tokens(const View& v, int64_t d)
      : pointer(static_cast<M*>(v.pointer)), sample(v.strides[0]), token(v.strides[1]) {
    const auto bits = reinterpret_cast<uintptr_t>(v.pointer) / sizeof(M);
    aligned = (bits | static_cast<uint64_t>(sample | token | d)) % 4 == 0 &&
              reinterpret_cast<uintptr_t>(v.pointer) % sizeof(M) == 0;
  }
};

struct Problem {
  int64_t heads, tq, tk, tiles;
  int d;
  float scale;
  const uint8_t* mask;
  bool mask_of_sample;
};

template <class M>
struct alignas(4 * sizeof(M)) Four {
  M value[4];
};

// Channels [c, c + 4) of a token, zero from d on.
template <class T>
__device__ float4 four_channels(const typename Element<T>::Memory* token, int c, int d, bool aligned) {
  using E = Element<T>;
  using M = typename E::Memory;
  if (aligned && c < d) {
    const Four<M> f = *reinterpret_cast<const Four<M>*>(token + c);
    return make_float4(E::load(f.value[0]), E::load(f.value[1]), E::load(f.value[2]), E::load(f.value[3]));
  }
  return make_float4(c < d ? E::load(token[c]) : 0.0f, c + 1 < d ? E::load(token[c + 1]) : 0.0f,
                     c + 2 < d ? E::load(token[c + 2]) : 0.0f, c + 3 < d ? E::load(token[c + 3]) : 0.0f);
}

// Tokens [first, first + count) of a head to shared memory, zero from `end` on; rows lie `pitch` apart.
template <class T, int width>
__device__ void load_tokens(const typename Element<T>::Memory* head,
                            const Tokens<const typename Element<T>::Memory>& of, int64_t first, int64_t end,
                            int count, int d, int pitch, float* to) {
  for (int i = threadIdx.x; i < count * (width / 4); i += fused_threads) {
    const int row = i / (width / 4), c = i % (width / 4) * 4;
    const int64_t token = first + row;
    *reinterpret_cast<float4*>(to + row * pitch + c) =
        token < end ? four_channels<T>(head + token * of.token, c, d, of.aligned) : make_float4(0, 0, 0, 0);
  }
}

// Over the 16 threads that share four queries.
__device__ inline float largest_of_row(float value) {
  for (int lane = columns / 2; lane > 0; lane /= 2) value = fmaxf(value, __shfl_xor_sync(~0u, value, lane));
  return value;
}
__device__ inline float sum_of_row(float value) {
  for (int lane = columns / 2; lane > 0; lane /= 2) value += __shfl_xor_sync(~0u, value, lane);
  return value;
}

__device__ inline float dot(float4 a, float4 b, float sum) {
  return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

template <class T, int width>
__global__ void __launch_bounds__(fused_threads, width == 64 ? 5 : 1)
    fused_kernel(Problem at, Tokens<const typename Element<T>::Memory> q,
                 Tokens<const typename Element<T>::Memory> k, Tokens<const typename Element<T>::Memory> v,
                 Tokens<typename Element<T>::Memory> o, float* log_sum_exp) {
  using E = Element<T>;
  constexpr int pitch = width + 4, p_pitch = keys + 4, channels = width / columns;
  constexpr int k_size = keys * pitch > queries * p_pitch ? keys * pitch : queries * p_pitch;
  alignas(16) __shared__ float q_tile[queries * pitch];
  alignas(16) __shared__ float k_tile[k_size];  // then p
  alignas(16) __shared__ float v_tile[keys * width];
  const int x = threadIdx.x % columns, y = threadIdx.x / columns;
  const int64_t pair = blockIdx.x / at.tiles, first = blockIdx.x % at.tiles * queries;
  const int64_t sample = pair / at.heads, channel = pair % at.heads * at.d;
  const auto* k_head = k.pointer + sample * k.sample + channel;
  const auto* v_head = v.pointer + sample * v.sample + channel;
  load_tokens<T, width>(q.pointer + sample * q.sample + channel, q, first, at.tq, queries, at.d, pitch,
                        q_tile);

  const float lowest = -INFINITY;
  float largest[4] = {lowest, lowest, lowest, lowest}, sum[4] = {}, out[4][channels] = {};
  for (int64_t begin = 0; begin < at.tk; begin += keys) {
    __syncthreads();  // p and v of the tile before are read
    load_tokens<T, width>(k_head, k, begin, at.tk, keys, at.d, pitch, k_tile);
    load_tokens<T, width>(v_head, v, begin, at.tk, keys, at.d, width, v_tile);
    __syncthreads();

    float s[4][4] = {};
#pragma unroll 4
    for (int c = 0; c < width; c += 4) {
      float4 a[4], b[4];
      for (int i = 0; i < 4; ++i) a[i] = *reinterpret_cast<const float4*>(q_tile + (4 * y + i) * pitch + c);
      for (int j = 0; j < 4; ++j)
        b[j] = *reinterpret_cast<const float4*>(k_tile + (x + columns * j) * pitch + c);
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) s[i][j] = dot(a[i], b[j], s[i][j]);
    }
    __syncthreads();  // k is read

    for (int i = 0; i < 4; ++i) {
      const int64_t query = first + 4 * y + i;
      const uint8_t* allowed = at.mask && query < at.tq
                                   ? at.mask + ((at.mask_of_sample ? sample * at.tq : 0) + query) * at.tk
                                   : nullptr;
      float top = lowest;
      for (int j = 0; j < 4; ++j) {
        const int64_t key = begin + x + columns * j;
        const bool attends = key < at.tk && (!allowed || allowed[key]);
        s[i][j] = attends ? s[i][j] * at.scale : lowest;
        top = fmaxf(top, s[i][j]);
      }
      top = fmaxf(largest[i], largest_of_row(top));
      // Where nothing was allowed yet every score is minus infinity; so is the difference to any number.
      const float shift = top == lowest ? 0.0f : top;
      const float shrink = kernels::math::exp(largest[i] - shift);
      largest[i] = top;
      float of_tile = 0;
      for (int j = 0; j < 4; ++j) {
        const float p = kernels::math::exp(s[i][j] - shift);
        k_tile[(4 * y + i) * p_pitch + x + columns * j] = p;
        of_tile += p;
      }
      sum[i] = fmaf(sum[i], shrink, sum_of_row(of_tile));
      for (int c = 0; c < channels; ++c) out[i][c] *= shrink;
    }
    __syncthreads();

#pragma unroll 2
    for (int key = 0; key < keys; key += 4) {
      float4 p[4];
      for (int i = 0; i < 4; ++i)
        p[i] = *reinterpret_cast<const float4*>(k_tile + (4 * y + i) * p_pitch + key);
      float value[4][channels];
      for (int l = 0; l < 4; ++l)
        for (int c = 0; c < channels; ++c) value[l][c] = v_tile[(key + l) * width + x * channels + c];
      for (int i = 0; i < 4; ++i)
        for (int c = 0; c < channels; ++c)
          out[i][c] = fmaf(
              p[i].w, value[3][c],
              fmaf(p[i].z, value[2][c], fmaf(p[i].y, value[1][c], fmaf(p[i].x, value[0][c], out[i][c]))));
    }
  }

  for (int i = 0; i < 4; ++i) {
    const int64_t query = first + 4 * y + i;
    if (query >= at.tq) continue;
    const float inverse = sum[i] == 0 ? 0.0f : 1 / sum[i];  // NaN stays NaN
    auto* to = o.pointer + sample * o.sample + query * o.token + channel;
    for (int c = 0; c < channels; ++c)
      if (x * channels + c < at.d) to[x * channels + c] = E::store(out[i][c] * inverse);
    if (x == 0) log_sum_exp[pair * at.tq + query] = sum[i] == 0 ? lowest : largest[i] + logf(sum[i]);
  }
}

template <class T, int width>
void run(const Problem& at, int64_t pairs, const kernels::AttentionInputs& in, const View& o,
         const View& log_sum_exp) {
  using M = typename Element<T>::Memory;
  const int64_t d = at.d;
  launch(fused_kernel<T, width>, static_cast<unsigned>(pairs * at.tiles), fused_threads, at,
         Tokens<const M>(in.q, d), Tokens<const M>(in.k, d), Tokens<const M>(in.v, d), Tokens<M>(o, d),
         static_cast<float*>(log_sum_exp.pointer));
  require(launched("attention_fused"));
}

}  // namespace

bool attention_is_fused(DType dtype, int64_t tk, int64_t d) {
  if (dtype == DType::f64 || d > 64) return false;
  return dtype == DType::f32 || tk <= keys;
}

void attention_fused(const kernels::AttentionParams& params, const kernels::AttentionInputs& in,
                     const View& o, const View& log_sum_exp) {
  const int64_t heads = params.heads, tq = in.q.shape[1], d = in.q.shape[2] / heads;
  const Problem at{
      .heads = heads,
      .tq = tq,
      .tk = in.k.shape[1],
      .tiles = (tq + queries - 1) / queries,
      .d = static_cast<int>(d),
      .scale = static_cast<float>(params.scale != 0 ? params.scale : 1 / std::sqrt(static_cast<double>(d))),
      .mask = static_cast<const uint8_t*>(in.mask.pointer),
      .mask_of_sample = in.mask.rank() == 3};
  require(for_float("attention_forward", in.q.dtype, [&]<class T>(T) -> const char* {
    if constexpr (std::is_same_v<T, double>)
      return unsupported("attention_fused", static_cast<int>(in.q.dtype));
    else if (d <= 32)
      run<T, 32>(at, in.q.shape[0] * heads, in, o, log_sum_exp);
    else
      run<T, 64>(at, in.q.shape[0] * heads, in, o, log_sum_exp);
    return nullptr;
  }));
}

}  // namespace tw::cuda
