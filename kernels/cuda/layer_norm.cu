// Layer normalisation over the last extent, one block a row, moments in two passes over a row that stays in
// the L1 cache. The gradients of gamma and beta: rows in chunks of 32, one thread a channel, then the chunks
// in order.
#include "kernels/cpu/isa/layer_norm.h"
#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/scratch.h"
#include "kernels/cuda/term.h"

namespace tw::cuda {
namespace {

constexpr int64_t chunk = 32;

template <class T>
__global__ void forward_kernel(const typename Element<T>::Memory* x, Term gamma, Term beta, int64_t c,
                               double eps, typename Element<T>::Memory* y,
                               typename Element<T>::Value* mean_out, typename Element<T>::Value* rstd_out) {
  using V = typename Element<T>::Value;
  const int64_t row = blockIdx.x;
  x += row * c, y += row * c;
  V sum = 0, squares = 0;
  for (int64_t j = threadIdx.x; j < c; j += blockDim.x) sum += Element<T>::load(x[j]);
  const V mean = over_block<Plus<V>>(sum, V(0)) / static_cast<V>(c);
  for (int64_t j = threadIdx.x; j < c; j += blockDim.x) {
    const V centred = Element<T>::load(x[j]) - mean;
    squares += centred * centred;
  }
  const V rstd = V(1) / sqrt(over_block<Plus<V>>(squares, V(0)) / static_cast<V>(c) + static_cast<V>(eps));
  for (int64_t j = threadIdx.x; j < c; j += blockDim.x) {
    V value = (Element<T>::load(x[j]) - mean) * rstd;
    if (gamma.pointer) value *= gamma.at<V>(j);
    if (beta.pointer) value += beta.at<V>(j);
    y[j] = Element<T>::store(value);
  }
  if (threadIdx.x == 0) mean_out[row] = mean, rstd_out[row] = rstd;
}

// dx = rstd (g - mean(g) - xhat mean(g xhat)) with g = gamma dy
template <class T>
__global__ void backward_kernel(const typename Element<T>::Memory* x, const typename Element<T>::Memory* dy,
                                Term gamma, const typename Element<T>::Value* means,
                                const typename Element<T>::Value* rstds, int64_t c,
                                typename Element<T>::Memory* dx) {
  using V = typename Element<T>::Value;
  const int64_t row = blockIdx.x;
  const V mean = means[row], rstd = rstds[row];
  x += row * c, dy += row * c, dx += row * c;
  const auto g = [&](int64_t j) { return Element<T>::load(dy[j]) * (gamma.pointer ? gamma.at<V>(j) : V(1)); };
  const auto xhat = [&](int64_t j) { return (Element<T>::load(x[j]) - mean) * rstd; };
  V sum = 0, product = 0;
  for (int64_t j = threadIdx.x; j < c; j += blockDim.x) sum += g(j), product += g(j) * xhat(j);
  sum = over_block<Plus<V>>(sum, V(0)) / static_cast<V>(c);
  product = over_block<Plus<V>>(product, V(0)) / static_cast<V>(c);
  for (int64_t j = threadIdx.x; j < c; j += blockDim.x)
    dx[j] = Element<T>::store(rstd * (g(j) - sum - xhat(j) * product));
}

// partial (chunks, 2, c): sums of dy xhat and of dy over a chunk's rows.
template <class T>
__global__ void chunk_sums(const typename Element<T>::Memory* x, const typename Element<T>::Memory* dy,
                           const typename Element<T>::Value* means, const typename Element<T>::Value* rstds,
                           int64_t rows, int64_t c, typename Element<T>::Value* partial) {
  using V = typename Element<T>::Value;
  const int64_t j = int64_t{blockIdx.y} * blockDim.x + threadIdx.x, begin = blockIdx.x * chunk;
  if (j >= c) return;
  const int64_t end = begin + chunk < rows ? begin + chunk : rows;
  V gamma = 0, beta = 0;
  for (int64_t r = begin; r < end; ++r) {
    const V g = Element<T>::load(dy[r * c + j]);
    gamma += g * (Element<T>::load(x[r * c + j]) - means[r]) * rstds[r];
    beta += g;
  }
  partial[2 * blockIdx.x * c + j] = gamma;
  partial[(2 * blockIdx.x + 1) * c + j] = beta;
}

// Sums may be null where they are not wanted.
template <class V>
__global__ void add_chunks(const V* partial, int64_t chunks, int64_t c, V* dgamma, V* dbeta) {
  const int64_t j = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (j >= c) return;
  double gamma = 0, beta = 0;
  for (int64_t k = 0; k < chunks; ++k) gamma += partial[2 * k * c + j], beta += partial[(2 * k + 1) * c + j];
  if (dgamma) dgamma[j] = static_cast<V>(gamma);
  if (dbeta) dbeta[j] = static_cast<V>(beta);
}

unsigned threads_for(int64_t c) { return c >= 1024 ? 256 : c >= 256 ? 128 : 32; }

}  // namespace

TW_CUDA_EXPORT tw_cuda_layer_norm_forward(const kernels::LayerNormJob* job) {
  if (job->rows == 0) return nullptr;
  return for_float("layer_norm_forward", job->x.dtype, [&]<class T>(T) {
    using M = typename Element<T>::Memory;
    using V = typename Element<T>::Value;
    launch(forward_kernel<T>, static_cast<unsigned>(job->rows), threads_for(job->c),
           static_cast<const M*>(job->x.pointer), Term(job->gamma), Term(job->beta), job->c, job->eps,
           static_cast<M*>(job->y.pointer), static_cast<V*>(job->mean.pointer),
           static_cast<V*>(job->rstd.pointer));
    return launched("layer_norm_forward");
  });
}

TW_CUDA_EXPORT tw_cuda_layer_norm_backward(const kernels::LayerNormJob* job) {
  return caught([&] {
    const int64_t rows = job->rows, c = job->c, chunks = (rows + chunk - 1) / chunk;
    const kernels::LayerNormGradients& wanted = job->gradients;
    if (c == 0) return;
    require(for_float("layer_norm_backward", job->x.dtype, [&]<class T>(T) {
      using M = typename Element<T>::Memory;
      using V = typename Element<T>::Value;
      const M *x = static_cast<const M*>(job->x.pointer), *dy = static_cast<const M*>(job->dy.pointer);
      const V *mean = static_cast<const V*>(job->mean.pointer),
              *rstd = static_cast<const V*>(job->rstd.pointer);
      // The sums come first: dx may be dy.
      if (wanted.dgamma || wanted.dbeta) {
        const Scratch memory("layer_norm_backward", static_cast<size_t>(2 * chunks * c) * sizeof(V));
        V* partial = static_cast<V*>(memory.get());
        const unsigned wide = static_cast<unsigned>((c + threads - 1) / threads);
        if (chunks > 0)
          launch(chunk_sums<T>, dim3(static_cast<unsigned>(chunks), wide), threads, x, dy, mean, rstd, rows,
                 c, partial);
        if (const char* text = launched("chunk_sums")) return text;
        launch(add_chunks<V>, wide, threads, partial, chunks, c, static_cast<V*>(wanted.dgamma.pointer),
               static_cast<V*>(wanted.dbeta.pointer));
        if (const char* text = launched("add_chunks")) return text;
      }
      if (wanted.dx && rows > 0)
        launch(backward_kernel<T>, static_cast<unsigned>(rows), threads_for(c), x, dy, Term(job->gamma), mean,
               rstd, c, static_cast<M*>(wanted.dx.pointer));
      return launched("layer_norm_backward");
    }));
  });
}

}  // namespace tw::cuda
