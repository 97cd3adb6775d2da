// Group normalisation (+ scale and shift) (+ SiLU), channels last: the three passes of the CPU kernel (sums
// of chunks of pixels, reduction of a sample, application), with its sums and their order within a chunk's
// rows excepted. A chunk is a block of threads, so that a group is split over many blocks; no atomics. A
// pass over a small map is one launch (group_norm_slab.h).
#include "kernels/cuda/group_norm_slab.h"

namespace tw::cuda {
namespace {

using Job = kernels::GroupNormJob;
namespace math = kernels::math;

// What of x a kernel works on: channels [first, first + c) of the whole lie in maps of their own.
struct Part {
  void *x, *dx;
  int64_t first, c;
};

template <class R>
__device__ R* partial(const Job& job, int64_t sample, int64_t chunk) {
  return static_cast<R*>(job.partial) + (sample * job.chunks + chunk) * 2 * job.c;
}
template <class R>
__device__ R* coefficients(const Job& job, int64_t sample) {
  return static_cast<R*>(job.coefficients) + sample * 4 * job.c;
}

// The block's threads as rows of pixels by columns of channels.
struct Lane {
  int column, columns, row, rows;
};
__device__ Lane lane_of(int64_t c) {
  int columns = 32;
  while (columns < c && columns < static_cast<int>(blockDim.x)) columns *= 2;
  const int thread = static_cast<int>(threadIdx.x);
  return {thread % columns, columns, thread / columns, static_cast<int>(blockDim.x) / columns};
}

// The sum over the rows of a column, in order, in the threads of row 0.
template <class R>
__device__ R over_rows(const Lane& lane, R value) {
  __shared__ R shared[threads];
  __syncthreads();
  shared[threadIdx.x] = value;
  __syncthreads();
  if (lane.row == 0)
    for (int row = 1; row < lane.rows; ++row) value += shared[row * lane.columns + lane.column];
  return value;
}

// Grid (chunks, samples).
template <class T>
__global__ void forward_sums(Job job, Part part) {
  using E = Element<T>;
  using R = Real<T>;
  const int64_t sample = blockIdx.y, begin = blockIdx.x * job.chunk_pixels;
  const int64_t left = job.pixels - begin, count = left < job.chunk_pixels ? left : job.chunk_pixels;
  const auto* sample_x = static_cast<const MemoryOf<T>*>(part.x) + sample * job.pixels * part.c;
  const auto* x = sample_x + begin * part.c;
  R* sums = partial<R>(job, sample, blockIdx.x) + part.first;
  const Lane lane = lane_of(part.c);
  for (int64_t block = 0; block < part.c; block += lane.columns) {
    const int64_t j = block + lane.column;
    R sum = 0, squares = 0;
    if (j < part.c) {
      const R shift = E::load(sample_x[j]);
      for (int64_t pixel = lane.row; pixel < count; pixel += lane.rows) {
        const R d = E::load(x[pixel * part.c + j]) - shift;
        sum += d;
        squares = math::fma(d, d, squares);
      }
    }
    sum = over_rows(lane, sum);
    squares = over_rows(lane, squares);
    if (lane.row == 0 && j < part.c) sums[j] = sum, sums[job.c + j] = squares;
  }
}

// totals (2, c) of the block's sample = the sums of its chunks, in order.
template <class R>
__device__ double* add_chunks(const Job& job, int64_t sample) {
  double* total = job.totals + sample * 2 * job.c;
  for (int64_t j = threadIdx.x; j < 2 * job.c; j += blockDim.x) {
    double sum = 0;
    for (int64_t chunk = 0; chunk < job.chunks; ++chunk)
      sum += static_cast<double>(partial<R>(job, sample, chunk)[j]);
    total[j] = sum;
  }
  __syncthreads();
  return total;
}

// a and b of z = a x + b, from the moments.
template <class R>
__device__ void forward_coefficients(const Job& job, int64_t sample) {
  const int64_t c = job.c, size = c / job.params.groups;
  const R* mean = static_cast<const R*>(job.mean.pointer) + sample * job.params.groups;
  const R* rstd = static_cast<const R*>(job.rstd.pointer) + sample * job.params.groups;
  R* a = coefficients<R>(job, sample);
  for (int64_t j = threadIdx.x; j < c; j += blockDim.x) {
    const double scale = 1 + parameter(job.in.scale_shift, sample * 2 * c + j, 0);
    const double shift = parameter(job.in.scale_shift, sample * 2 * c + c + j, 0);
    a[j] = static_cast<R>(static_cast<double>(rstd[j / size]) * parameter(job.in.gamma, j, 1) * scale);
    a[c + j] = static_cast<R>(parameter(job.in.beta, j, 0) * scale + shift -
                              static_cast<double>(mean[j / size]) * static_cast<double>(a[j]));
  }
}

// One block a sample.
template <class T>
__global__ void forward_reduce(Job job) {
  using E = Element<T>;
  using R = Real<T>;
  const int64_t sample = blockIdx.x, c = job.c, groups = job.params.groups, size = c / groups;
  const double pixels = static_cast<double>(job.pixels), count = pixels * static_cast<double>(size);
  const double* total = add_chunks<R>(job, sample);
  const auto first = [&](int64_t j) {  // the sums are taken relative to the first pixel
    const bool rest = j >= job.c_first;
    const auto* x = static_cast<const MemoryOf<T>*>(rest ? job.in.x_rest.pointer : job.in.x.pointer);
    const int64_t width = rest ? c - job.c_first : job.c_first;
    return static_cast<double>(E::load(x[sample * job.pixels * width + (rest ? j - job.c_first : j)]));
  };
  R* mean = static_cast<R*>(job.mean.pointer) + sample * groups;
  R* rstd = static_cast<R*>(job.rstd.pointer) + sample * groups;
  for (int64_t group = threadIdx.x; group < groups; group += blockDim.x) {
    double average = 0, squares = 0;
    for (int64_t j = group * size; j < (group + 1) * size; ++j) average += first(j) + total[j] / pixels;
    average /= static_cast<double>(size);
    for (int64_t j = group * size; j < (group + 1) * size; ++j) {
      const double off = first(j) + total[j] / pixels - average;
      const double own = total[c + j] - total[j] * total[j] / pixels;
      squares += (own < 0 ? 0 : own) + pixels * off * off;
    }
    mean[group] = static_cast<R>(average);
    rstd[group] = static_cast<R>(1 / sqrt(squares / count + job.params.eps));
  }
  __syncthreads();
  forward_coefficients<R>(job, sample);
}

// Grid (blocks of a sample's part, samples).
template <class T, bool with_silu>
__global__ void forward_apply(Job job, Part part) {
  using E = Element<T>;
  using R = Real<T>;
  const int64_t sample = blockIdx.y, size = job.pixels * part.c;
  const auto* x = static_cast<const MemoryOf<T>*>(part.x) + sample * size;
  auto* y = static_cast<MemoryOf<T>*>(job.y.pointer) + sample * job.pixels * job.c + part.first;
  const R* a = coefficients<R>(job, sample) + part.first;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += stride) {
    const int64_t pixel = i / part.c, j = i - pixel * part.c;
    y[pixel * job.c + j] = E::store(math::group_norm_output<with_silu>(E::load(x[i]), a[j], a[job.c + j]));
  }
}

// a and b again, from the moments that forward left.
template <class T>
__global__ void backward_prepare(Job job) {
  forward_coefficients<Real<T>>(job, blockIdx.x);
}

// Grid (chunks, samples).
template <class T, bool with_silu>
__global__ void backward_sums(Job job, Part part) {
  using E = Element<T>;
  using R = Real<T>;
  const int64_t sample = blockIdx.y, begin = blockIdx.x * job.chunk_pixels, c = job.c,
                size = c / job.params.groups;
  const int64_t left = job.pixels - begin, count = left < job.chunk_pixels ? left : job.chunk_pixels;
  const auto* x = static_cast<const MemoryOf<T>*>(part.x) + (sample * job.pixels + begin) * part.c;
  const auto* dy =
      static_cast<const MemoryOf<T>*>(job.dy.pointer) + (sample * job.pixels + begin) * c + part.first;
  const R* a = coefficients<R>(job, sample) + part.first;
  const R* mean = static_cast<const R*>(job.mean.pointer) + sample * job.params.groups;
  R* sums = partial<R>(job, sample, blockIdx.x) + part.first;
  const Lane lane = lane_of(part.c);
  for (int64_t block = 0; block < part.c; block += lane.columns) {
    const int64_t j = block + lane.column;
    R sum = 0, products = 0;
    if (j < part.c) {
      const R of_x = a[j], constant = a[c + j], average = mean[(part.first + j) / size];
      for (int64_t pixel = lane.row; pixel < count; pixel += lane.rows) {
        const R in = E::load(x[pixel * part.c + j]);
        const R dz = math::group_norm_dz<with_silu>(E::load(dy[pixel * c + j]), in, of_x, constant);
        sum += dz;
        products = math::fma(dz, in - average, products);
      }
    }
    sum = over_rows(lane, sum);
    products = over_rows(lane, products);
    if (lane.row == 0 && j < part.c) sums[j] = sum, sums[c + j] = products;
  }
}

// With u = dz gamma (1 + s) and averages over the group: dx = rstd (u - <u> - xhat <u xhat>) = p dz + q x +
// r. One block a sample.
template <class T>
__global__ void backward_reduce(Job job) {
  using R = Real<T>;
  const int64_t sample = blockIdx.x, c = job.c, groups = job.params.groups, size = c / groups;
  const double count = static_cast<double>(job.pixels * size);
  double* total = add_chunks<R>(job, sample);
  R* coefficient = coefficients<R>(job, sample);
  for (int64_t group = threadIdx.x; group < groups; group += blockDim.x) {
    const double mean = static_cast<double>(static_cast<const R*>(job.mean.pointer)[sample * groups + group]);
    const double rstd = static_cast<double>(static_cast<const R*>(job.rstd.pointer)[sample * groups + group]);
    double u = 0, u_xhat = 0;
    for (int64_t j = group * size; j < (group + 1) * size; ++j) {
      total[c + j] *= rstd;
      const double weight =
          parameter(job.in.gamma, j, 1) * (1 + parameter(job.in.scale_shift, sample * 2 * c + j, 0));
      u += weight * total[j] / count;
      u_xhat += weight * total[c + j] / count;
    }
    const R q = static_cast<R>(-rstd * rstd * u_xhat);
    const R r = static_cast<R>(-rstd * u - static_cast<double>(q) * mean);
    for (int64_t j = group * size; j < (group + 1) * size; ++j)
      coefficient[2 * c + j] = q, coefficient[3 * c + j] = r;
  }
  __syncthreads();
  if (job.gradients.dscale_shift.pointer)
    for (int64_t j = threadIdx.x; j < c; j += blockDim.x) {
      set(job.gradients.dscale_shift, sample * 2 * c + j,
          parameter(job.in.gamma, j, 1) * total[c + j] + parameter(job.in.beta, j, 0) * total[j]);
      set(job.gradients.dscale_shift, sample * 2 * c + c + j, total[j]);
    }
}

// Grid (blocks of a sample's part, samples). dx may be dy if x is in one part.
template <class T, bool with_silu>
__global__ void backward_apply(Job job, Part part) {
  using E = Element<T>;
  using R = Real<T>;
  const int64_t sample = blockIdx.y, size = job.pixels * part.c, c = job.c;
  const auto* x = static_cast<const MemoryOf<T>*>(part.x) + sample * size;
  const auto* dy = static_cast<const MemoryOf<T>*>(job.dy.pointer) + sample * job.pixels * c + part.first;
  auto* dx = static_cast<MemoryOf<T>*>(part.dx) + sample * size;
  const R* a = coefficients<R>(job, sample) + part.first;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += stride) {
    const int64_t pixel = i / part.c, j = i - pixel * part.c;
    const R in = E::load(x[i]);
    const R dz = math::group_norm_dz<with_silu>(E::load(dy[pixel * c + j]), in, a[j], a[c + j]);
    dx[i] = E::store(math::fma(a[j], dz, math::fma(a[2 * c + j], in, a[3 * c + j])));
  }
}

__global__ void backward_parameters(Job job) {
  const int64_t c = job.c, j = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (j >= c) return;
  double dgamma = 0, dbeta = 0;
  for (int64_t sample = 0; sample < job.n && job.pixels > 0; ++sample) {
    const double scale = 1 + parameter(job.in.scale_shift, sample * 2 * c + j, 0);
    dbeta += scale * job.totals[sample * 2 * c + j];
    dgamma += scale * job.totals[sample * 2 * c + c + j];
  }
  if (job.gradients.dgamma.pointer) set(job.gradients.dgamma, j, dgamma);
  if (job.gradients.dbeta.pointer) set(job.gradients.dbeta, j, dbeta);
}

// Calls f(part, blocks that cover a sample's part) for both parts of x.
template <class F>
void for_parts(const Job& job, F f) {
  const auto one = [&](const View& x, const View& dx, int64_t first, int64_t c) {
    f(Part{x.pointer, dx.pointer, first, c}, blocks_for(job.pixels * c));
  };
  one(job.in.x, job.gradients.dx, 0, job.c_first);
  if (job.in.x_rest) one(job.in.x_rest, job.gradients.dx_rest, job.c_first, job.c - job.c_first);
}

template <class T, bool with_silu>
void forward(const Job& job) {
  if (const int64_t width = slab::channels(job); width > 0) {
    const dim3 grid(static_cast<unsigned>((job.c + width - 1) / width), static_cast<unsigned>(job.n));
    launch(slab::forward<T, with_silu>, grid, slab::block_threads, job, static_cast<int>(width));
    return;
  }
  const auto n = static_cast<unsigned>(job.n), chunks = static_cast<unsigned>(job.chunks);
  for_parts(
      job, [&](const Part& part, unsigned) { launch(forward_sums<T>, dim3(chunks, n), threads, job, part); });
  launch(forward_reduce<T>, n, threads, job);
  for_parts(job, [&](const Part& part, unsigned blocks) {
    launch(forward_apply<T, with_silu>, dim3(blocks, n), threads, job, part);
  });
}

template <class T, bool with_silu>
void backward(const Job& job) {
  if (const int64_t width = slab::channels(job); width > 0) {
    const dim3 grid(static_cast<unsigned>((job.c + width - 1) / width), static_cast<unsigned>(job.n));
    launch(slab::backward<T, with_silu>, grid, slab::block_threads, job, static_cast<int>(width));
    return;
  }
  const auto n = static_cast<unsigned>(job.n), chunks = static_cast<unsigned>(job.chunks);
  launch(backward_prepare<T>, n, threads, job);
  for_parts(job, [&](const Part& part, unsigned) {
    launch(backward_sums<T, with_silu>, dim3(chunks, n), threads, job, part);
  });
  launch(backward_reduce<T>, n, threads, job);
  if (!job.gradients.dx) return;
  for_parts(job, [&](const Part& part, unsigned blocks) {
    launch(backward_apply<T, with_silu>, dim3(blocks, n), threads, job, part);
  });
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_group_norm_silu_forward(const Job* job) {
  return for_float("group_norm_silu_forward", job->in.x.dtype, [&]<class T>(T) {
    job->params.silu ? forward<T, true>(*job) : forward<T, false>(*job);
    return launched("group_norm_silu_forward");
  });
}

TW_CUDA_EXPORT tw_cuda_group_norm_silu_backward(const Job* job) {
  return for_float("group_norm_silu_backward", job->in.x.dtype, [&]<class T>(T) {
    if (job->in.x.numel() > 0) job->params.silu ? backward<T, true>(*job) : backward<T, false>(*job);
    if (job->gradients.dgamma || job->gradients.dbeta)
      launch(backward_parameters, blocks_for(job->c), threads, *job);
    return launched("group_norm_silu_backward");
  });
}

}  // namespace tw::cuda
