// Group normalisation of a small map, forward or backward, in one launch: a block has a slab of a sample, at
// least 16 of its channels in whole groups, and goes over its pixels twice: sums, moments in f64,
// application. One launch stands for three or four, two more of a concatenated map; the second look at x
// finds it in the cache.
#pragma once

#include "kernels/cpu/isa/group_norm_silu.h"
#include "kernels/cuda/element.h"
#include "kernels/math/group_norm.h"

namespace tw::cuda {

template <class T>
using MemoryOf = typename Element<T>::Memory;
template <class T>
using Real = typename Element<T>::Value;

// Element i of an optional parameter.
__device__ inline double parameter(const View& view, int64_t i, double absent) {
  if (!view.pointer) return absent;
  if (view.dtype == DType::f64) return static_cast<const double*>(view.pointer)[i];
  if (view.dtype == DType::bf16) return __bfloat162float(static_cast<const __nv_bfloat16*>(view.pointer)[i]);
  if (view.dtype == DType::f16) return __half2float(static_cast<const __half*>(view.pointer)[i]);
  return static_cast<const float*>(view.pointer)[i];
}

// To element i of an optional gradient.
__device__ inline void set(const View& view, int64_t i, double value) {
  if (view.dtype == DType::f64)
    static_cast<double*>(view.pointer)[i] = value;
  else if (view.dtype == DType::bf16)
    static_cast<__nv_bfloat16*>(view.pointer)[i] = __float2bfloat16_rn(static_cast<float>(value));
  else if (view.dtype == DType::f16)
    static_cast<__half*>(view.pointer)[i] = __float2half_rn(static_cast<float>(value));
  else
    static_cast<float*>(view.pointer)[i] = static_cast<float>(value);
}

namespace slab {

constexpr int block_threads = 512;
constexpr int most_channels = 64;
constexpr int64_t most_pixels = 1024;

// Channels of a slab; 0: not for this map. Decided by the map alone, so that an image's bits are the same in
// every batch.
inline int64_t channels(const kernels::GroupNormJob& job) {
  const int64_t size = job.c / job.params.groups, together = (15 + size) / size * size;
  return job.pixels <= most_pixels && together <= most_channels ? together : 0;
}

// Where channel j of a sample lies in x or x_rest: the first pixel's, and the distance of the next.
template <class T>
struct Column {
  const MemoryOf<T>* x;
  int64_t step;
};
template <class T>
__device__ Column<T> column_of(const kernels::GroupNormJob& job, int64_t sample, int64_t j) {
  const bool rest = j >= job.c_first;
  const int64_t width = rest ? job.c - job.c_first : job.c_first;
  const auto* map = static_cast<const MemoryOf<T>*>(rest ? job.in.x_rest.pointer : job.in.x.pointer);
  return {map + sample * job.pixels * width + (rest ? j - job.c_first : j), width};
}

// The sums of a block's columns over its rows, in order, by the threads of row 0: f(sum, other sum).
template <class R, class F>
__device__ void add_rows(R sum, R other, bool first_row, int channel, int width, int rows, F f) {
  __shared__ R sums[block_threads], others[block_threads];
  sums[threadIdx.x] = sum;
  others[threadIdx.x] = other;
  __syncthreads();
  if (first_row) {
    double total = 0, total_other = 0;
    for (int k = 0; k < rows; ++k) {
      total += static_cast<double>(sums[k * width + channel]);
      total_other += static_cast<double>(others[k * width + channel]);
    }
    f(total, total_other);
  }
  __syncthreads();
}

// Grid (slabs, samples).
template <class T, bool with_silu>
__global__ void forward(kernels::GroupNormJob job, int width) {
  using E = Element<T>;
  using R = Real<T>;
  __shared__ R a[most_channels], b[most_channels];
  __shared__ double mean_of[most_channels], own_of[most_channels];  // of channels: mean, sum of (x - mean)^2
  const int thread = static_cast<int>(threadIdx.x), rows = block_threads / width;
  const int row = thread / width, channel = thread % width;
  const int64_t sample = blockIdx.y, first = int64_t{blockIdx.x} * width, j = first + channel, c = job.c;
  const int64_t left = c - first, present = left < width ? left : width;
  const bool active = row < rows && channel < present;
  const double pixels = static_cast<double>(job.pixels);
  const Column<T> in = column_of<T>(job, sample, active ? j : first);
  const R shift = E::load(in.x[0]);  // sums are relative to the first pixel
  R sum = 0, square = 0;
  if (active)
    for (int64_t pixel = row; pixel < job.pixels; pixel += rows) {
      const R d = E::load(in.x[pixel * in.step]) - shift;
      sum += d;
      square = kernels::math::fma(d, d, square);
    }
  add_rows(sum, square, row == 0 && active, channel, width, rows, [&](double total, double total_squares) {
    const double own = total_squares - total * total / pixels;
    mean_of[channel] = static_cast<double>(shift) + total / pixels;
    own_of[channel] = own < 0 ? 0 : own;
  });
  if (row == 0 && active) {
    const int size = static_cast<int>(c / job.params.groups), begin = channel / size * size;
    double average = 0, all = 0;
    for (int k = begin; k < begin + size; ++k) average += mean_of[k];
    average /= size;
    for (int k = begin; k < begin + size; ++k) {
      const double off = mean_of[k] - average;
      all += own_of[k] + pixels * off * off;
    }
    const R mean = static_cast<R>(average);
    const R rstd = static_cast<R>(1 / sqrt(all / (pixels * size) + job.params.eps));
    const int64_t group = sample * job.params.groups + j / size;
    if (channel == begin) {
      static_cast<R*>(job.mean.pointer)[group] = mean;
      static_cast<R*>(job.rstd.pointer)[group] = rstd;
    }
    const double scale = 1 + parameter(job.in.scale_shift, sample * 2 * c + j, 0);
    const double add = parameter(job.in.scale_shift, sample * 2 * c + c + j, 0);
    a[channel] = static_cast<R>(static_cast<double>(rstd) * parameter(job.in.gamma, j, 1) * scale);
    b[channel] = static_cast<R>(parameter(job.in.beta, j, 0) * scale + add -
                                static_cast<double>(mean) * static_cast<double>(a[channel]));
  }
  __syncthreads();
  if (!active) return;
  auto* y = static_cast<MemoryOf<T>*>(job.y.pointer) + sample * job.pixels * c + j;
  for (int64_t pixel = row; pixel < job.pixels; pixel += rows)
    y[pixel * c] = E::store(
        kernels::math::group_norm_output<with_silu>(E::load(in.x[pixel * in.step]), a[channel], b[channel]));
}

// Grid (slabs, samples). Leaves a sample's sums in job.totals, as backward_reduce does, for the gradients of
// the parameters. dx may be dy if x is in one part. What is the same for a channel's pixels is computed by
// one thread: in all of them it took 88 registers, with which a multiprocessor holds one such block, not two.
template <class T, bool with_silu>
__global__ void __launch_bounds__(block_threads, sizeof(Real<T>) == 8 ? 1 : 2)
    backward(kernels::GroupNormJob job, int width) {
  using E = Element<T>;
  using R = Real<T>;
  __shared__ double of_u[most_channels], of_u_xhat[most_channels];
  __shared__ R a[most_channels], b[most_channels], q[most_channels], r[most_channels];
  const int thread = static_cast<int>(threadIdx.x), rows = block_threads / width;
  const int row = thread / width, channel = thread % width;
  const int64_t sample = blockIdx.y, first = int64_t{blockIdx.x} * width, c = job.c;
  const int64_t left = c - first, present = left < width ? left : width;
  const bool active = row < rows && channel < present, first_row = row == 0 && active;
  const int64_t j = active ? first + channel : first;
  const int size = static_cast<int>(c / job.params.groups);
  const int64_t group = sample * job.params.groups + j / size;
  const R mean = static_cast<const R*>(job.mean.pointer)[group];
  const auto rstd = [&] { return static_cast<double>(static_cast<const R*>(job.rstd.pointer)[group]); };
  if (first_row) {  // the coefficients of z, rounded as forward_coefficients rounds them
    const double scale = 1 + parameter(job.in.scale_shift, sample * 2 * c + j, 0);
    a[channel] = static_cast<R>(rstd() * parameter(job.in.gamma, j, 1) * scale);
    b[channel] = static_cast<R>(parameter(job.in.beta, j, 0) * scale +
                                parameter(job.in.scale_shift, sample * 2 * c + c + j, 0) -
                                static_cast<double>(mean) * static_cast<double>(a[channel]));
  }
  __syncthreads();
  const Column<T> in = column_of<T>(job, sample, j);
  const auto* dy = static_cast<const MemoryOf<T>*>(job.dy.pointer) + sample * job.pixels * c + j;
  const int pixels = static_cast<int>(job.pixels);
  R sum = 0, products = 0;
  if (active)
    for (int pixel = row; pixel < pixels; pixel += rows) {
      const R x = E::load(in.x[pixel * in.step]);
      const R dz = kernels::math::group_norm_dz<with_silu>(E::load(dy[pixel * c]), x, a[channel], b[channel]);
      sum += dz;
      products = kernels::math::fma(dz, x - mean, products);
    }
  add_rows(sum, products, first_row, channel, width, rows, [&](double dz, double dz_x) {
    const double dz_xhat = dz_x * rstd();
    const double weight =
        parameter(job.in.gamma, j, 1) * (1 + parameter(job.in.scale_shift, sample * 2 * c + j, 0));
    const double count = static_cast<double>(job.pixels * size);
    of_u[channel] = weight * dz / count;
    of_u_xhat[channel] = weight * dz_xhat / count;
    job.totals[sample * 2 * c + j] = dz;
    job.totals[sample * 2 * c + c + j] = dz_xhat;
    if (job.gradients.dscale_shift.pointer) {
      set(job.gradients.dscale_shift, sample * 2 * c + j,
          parameter(job.in.gamma, j, 1) * dz_xhat + parameter(job.in.beta, j, 0) * dz);
      set(job.gradients.dscale_shift, sample * 2 * c + c + j, dz);
    }
  });
  if (!job.gradients.dx.pointer) return;
  if (first_row) {
    double u = 0, u_xhat = 0;
    const int begin = channel / size * size;
    for (int k = begin; k < begin + size; ++k) {
      u += of_u[k];
      u_xhat += of_u_xhat[k];
    }
    q[channel] = static_cast<R>(-rstd() * rstd() * u_xhat);
    r[channel] = static_cast<R>(-rstd() * u - static_cast<double>(q[channel]) * static_cast<double>(mean));
  }
  __syncthreads();
  if (!active) return;
  const bool rest = j >= job.c_first;
  auto* dx = static_cast<MemoryOf<T>*>(rest ? job.gradients.dx_rest.pointer : job.gradients.dx.pointer) +
             sample * job.pixels * in.step + (rest ? j - job.c_first : j);
  for (int pixel = row; pixel < pixels; pixel += rows) {
    const R x = E::load(in.x[pixel * in.step]);
    const R dz = kernels::math::group_norm_dz<with_silu>(E::load(dy[pixel * c]), x, a[channel], b[channel]);
    dx[pixel * in.step] =
        E::store(kernels::math::fma(a[channel], dz, kernels::math::fma(q[channel], x, r[channel])));
  }
}

}  // namespace slab
}  // namespace tw::cuda
