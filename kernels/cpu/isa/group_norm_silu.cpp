// Group normalisation (+ scale and shift) (+ SiLU), channels last.
//
// Forward: one read of x for two sums a channel, shifted by the sample's first pixel so that a large mean
// costs no digits; sums run in f32 within a chunk of pixels (at most 256) and in f64 across chunks; then one
// read and one write for y = silu(a x + b). Backward: one read of x and dy for the channel sums of dz and
// dz (x - mean), which leaves dz in dx where dx keeps its digits; then dx = p dz + q x + r.
#include "kernels/cpu/isa/group_norm_silu.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/vec.h"
#include "kernels/math/group_norm.h"

namespace tw::kernels {
namespace {

using TW_ISA::Vec;

// What a dtype T is computed in.
template <class T>
using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
double not_negative(double x) { return x < 0 ? 0 : x; }

// x comes in one or two parts: channels [first, first + c) of the whole lie in maps of their own.
struct Part {
  View x, dx;
  int64_t first, c;
};
template <class F>
TW_INLINE void for_parts(const GroupNormJob& job, F f) {
  f(Part{job.in.x, job.gradients.dx, 0, job.c_first});
  if (job.in.x_rest) f(Part{job.in.x_rest, job.gradients.dx_rest, job.c_first, job.c - job.c_first});
}

// A pixel of a map with c channels.
template <class T>
T* row(const View& map, int64_t c, const GroupNormJob& job, int64_t sample, int64_t pixel) {
  return static_cast<T*>(map.pointer) + (sample * job.pixels + pixel) * c;
}
template <class R>
R* partial(const GroupNormJob& job, int64_t sample, int64_t chunk) {
  return static_cast<R*>(job.partial) + (sample * job.chunks + chunk) * 2 * job.c;
}
template <class R>
R* coefficients(const GroupNormJob& job, int64_t sample) {
  return static_cast<R*>(job.coefficients) + sample * 4 * job.c;
}

// Element i of an optional parameter.
double parameter(const View& view, int64_t i, double absent) {
  if (!view) return absent;
  if (view.dtype == DType::f64) return static_cast<const double*>(view.pointer)[i];
  if (view.dtype == DType::bf16)
    return static_cast<double>(static_cast<float>(static_cast<const bf16*>(view.pointer)[i]));
  return static_cast<double>(static_cast<const float*>(view.pointer)[i]);
}
void set(const View& view, int64_t i, double value) {
  if (view.dtype == DType::f64)
    static_cast<double*>(view.pointer)[i] = value;
  else if (view.dtype == DType::bf16)
    static_cast<bf16*>(view.pointer)[i] = bf16(static_cast<float>(value));
  else
    static_cast<float*>(view.pointer)[i] = static_cast<float>(value);
}

// Calls f(first channel, std::integral_constant<number of vectors>, lanes of the last vector) over c channels
// in blocks of `wide` vectors, then single ones.
template <class V, int wide, class F>
TW_INLINE void for_channel_blocks(int64_t c, F f) {
  int64_t j = 0;
  for (; j + wide * V::lanes <= c; j += wide * V::lanes) f(j, std::integral_constant<int, wide>{}, V::lanes);
  for (; j + V::lanes <= c; j += V::lanes) f(j, std::integral_constant<int, 1>{}, V::lanes);
  if (j < c) f(j, std::integral_constant<int, 1>{}, c - j);
}
template <class V, class T>
TW_INLINE V load(const T* from, int64_t count) {
  return count == V::lanes ? V::load(from) : V::load(from, count);
}
template <class V, class T>
TW_INLINE void store(V v, T* to, int64_t count) {
  count == V::lanes ? v.store(to) : v.store(to, count);
}

template <class T>
void forward_sums_of(const GroupNormJob& job, int64_t sample, int64_t chunk) {
  using V = Vec<Real<T>>;
  const int64_t begin = chunk * job.chunk_pixels;
  const int64_t count = smaller(job.pixels - begin, job.chunk_pixels);
  for_parts(job, [&](const Part& part) {
    const int64_t c = part.c;
    const T* x = row<T>(part.x, c, job, sample, begin);
    const T* first = row<T>(part.x, c, job, sample, 0);
    Real<T>* sums = partial<Real<T>>(job, sample, chunk) + part.first;
    for_channel_blocks<V, 4>(c, [&](int64_t j, auto vectors, int64_t lanes) {
      constexpr int k = decltype(vectors)::value;
      V shift[k], sum[k], squares[k];
      for (int v = 0; v < k; ++v) {
        shift[v] = load<V>(first + j + v * V::lanes, lanes);
        sum[v] = squares[v] = V(0);
      }
      const T* in = x + j;
      for (int64_t pixel = 0; pixel < count; ++pixel, in += c)
        for (int v = 0; v < k; ++v) {
          const V d = load<V>(in + v * V::lanes, lanes) - shift[v];
          sum[v] += d;
          squares[v] = fma(d, d, squares[v]);
        }
      for (int v = 0; v < k; ++v) {
        store(sum[v], sums + j + v * V::lanes, lanes);
        store(squares[v], sums + job.c + j + v * V::lanes, lanes);
      }
    });
  });
}

// totals (2, c) = the sums of the sample's chunks.
template <class R>
double* add_chunks(const GroupNormJob& job, int64_t sample) {
  double* total = job.totals + sample * 2 * job.c;
  for (int64_t j = 0; j < 2 * job.c; ++j) total[j] = 0;
  for (int64_t chunk = 0; chunk < job.chunks; ++chunk) {
    const R* sums = partial<R>(job, sample, chunk);
    for (int64_t j = 0; j < 2 * job.c; ++j) total[j] += static_cast<double>(sums[j]);
  }
  return total;
}

// Some elements of an optional parameter, as f64.
void copy_parameter(const View& view, int64_t first, int64_t count, double absent, double* to) {
  const auto copy = [&](const auto* from) {
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<double>(static_cast<float>(from[first + i]));
  };
  if (!view)
    for (int64_t i = 0; i < count; ++i) to[i] = absent;
  else if (view.dtype == DType::f64)
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<const double*>(view.pointer)[first + i];
  else if (view.dtype == DType::bf16)
    copy(static_cast<const bf16*>(view.pointer));
  else
    copy(static_cast<const float*>(view.pointer));
}

// a and b of z = a x + b, from the moments.
template <class R>
void forward_coefficients(const GroupNormJob& job, int64_t sample, R* a, R* b) {
  constexpr int64_t most = 64;
  const int64_t c = job.c, groups = job.params.groups, size = c / groups;
  const R* mean = static_cast<const R*>(job.mean.pointer) + sample * groups;
  const R* rstd = static_cast<const R*>(job.rstd.pointer) + sample * groups;
  for (int64_t group = 0, j = 0; group < groups; ++group)
    for (int64_t end = j + size; j < end; ++j) a[j] = rstd[group], b[j] = mean[group];
  for (int64_t first = 0; first < c; first += most) {  // a parameter's type is looked at once for many
    const int64_t count = smaller(most, c - first);
    double gamma[most], beta[most], scale[most], shift[most];
    copy_parameter(job.in.gamma, first, count, 1, gamma);
    copy_parameter(job.in.beta, first, count, 0, beta);
    copy_parameter(job.in.scale_shift, sample * 2 * c + first, count, 0, scale);
    copy_parameter(job.in.scale_shift, sample * 2 * c + c + first, count, 0, shift);
    for (int64_t i = 0; i < count; ++i) {
      const double factor = 1 + scale[i], average = static_cast<double>(b[first + i]);
      const R product = static_cast<R>(static_cast<double>(a[first + i]) * gamma[i] * factor);
      a[first + i] = product;
      b[first + i] = static_cast<R>(beta[i] * factor + shift[i] - average * static_cast<double>(product));
    }
  }
}

template <class T>
void forward_reduce_of(const GroupNormJob& job, int64_t sample) {
  using R = Real<T>;
  const int64_t c = job.c, groups = job.params.groups, size = c / groups;
  const double pixels = static_cast<double>(job.pixels), share = 1 / pixels;
  const double count = pixels * static_cast<double>(size);
  // Sums, which are relative to the first pixel, become a channel's mean and its sum of squares around it.
  double* total = add_chunks<R>(job, sample);
  for_parts(job, [&](const Part& part) {
    const T* first = row<T>(part.x, part.c, job, sample, 0);
    double *means = total + part.first, *squares = means + c;
    for (int64_t j = 0; j < part.c; ++j) {
      squares[j] = not_negative(squares[j] - means[j] * means[j] * share);
      means[j] = static_cast<double>(static_cast<R>(first[j])) + means[j] * share;
    }
  });
  R* mean = static_cast<R*>(job.mean.pointer) + sample * groups;
  R* rstd = static_cast<R*>(job.rstd.pointer) + sample * groups;
  for (int64_t group = 0; group < groups; ++group) {
    // The group's mean; deviations of a channel from it join the channel's own.
    const double *means = total + group * size, *own = means + c;
    double average = 0, squares = 0;
    for (int64_t j = 0; j < size; ++j) average += means[j];
    average /= static_cast<double>(size);
    for (int64_t j = 0; j < size; ++j) {
      const double off = means[j] - average;
      squares += own[j] + pixels * off * off;
    }
    mean[group] = static_cast<R>(average);
    rstd[group] = static_cast<R>(1 / __builtin_sqrt(squares / count + job.params.eps));
  }
  R* a = coefficients<R>(job, sample);
  forward_coefficients(job, sample, a, a + c);
}

// While exp keeps the arithmetic busy, the same pixels of the next sample are fetched.
template <class T, bool silu>
void forward_apply_of(const GroupNormJob& job, int64_t sample, int64_t begin, int64_t end) {
  using V = Vec<Real<T>>;
  const int64_t last = smaller(job.pixels, end * job.chunk_pixels);
  for_parts(job, [&](const Part& part) {
    const Real<T>* a = coefficients<Real<T>>(job, sample) + part.first;
    const int64_t to_next = sample + 1 < job.n ? job.pixels * part.c : 0;
    for (int64_t pixel = begin * job.chunk_pixels; pixel < last; ++pixel) {
      const T* in = row<T>(part.x, part.c, job, sample, pixel);
      T* out = row<T>(job.y, job.c, job, sample, pixel) + part.first;
      for_channel_blocks<V, 2>(part.c, [&](int64_t j, auto vectors, int64_t lanes) {
        for (int v = 0; v < decltype(vectors)::value; ++v, j += V::lanes) {
          __builtin_prefetch(in + to_next + j, 0, 2);
          store(math::group_norm_output<silu>(load<V>(in + j, lanes), load<V>(a + j, lanes),
                                              load<V>(a + job.c + j, lanes)),
                out + j, lanes);
        }
      });
    }
  });
}

// Coefficients for the sums: a, b, and the group's mean of each channel.
template <class T>
void backward_prepare_of(const GroupNormJob& job, int64_t sample) {
  using R = Real<T>;
  const int64_t c = job.c, size = c / job.params.groups;
  R* a = coefficients<R>(job, sample);
  forward_coefficients(job, sample, a, a + c);
  const R* mean = static_cast<const R*>(job.mean.pointer) + sample * job.params.groups;
  for (int64_t j = 0; j < c; ++j) a[2 * c + j] = mean[j / size];
}

// bf16 would round dz, so that it is computed again in the second pass instead of being left in dx.
template <class T>
constexpr bool keeps_dz = !std::is_same_v<T, bf16>;

template <class T, bool silu, bool write>
void backward_sums_of(const GroupNormJob& job, int64_t sample, int64_t chunk) {
  using V = Vec<Real<T>>;
  const int64_t c = job.c, begin = chunk * job.chunk_pixels;
  const int64_t count = smaller(job.pixels - begin, job.chunk_pixels);
  for_parts(job, [&](const Part& part) {
    const T* x = row<T>(part.x, part.c, job, sample, begin);
    const T* dy = row<T>(job.dy, c, job, sample, begin) + part.first;
    T* dz_out = write ? row<T>(part.dx, part.c, job, sample, begin) : nullptr;
    const Real<T>* a = coefficients<Real<T>>(job, sample) + part.first;
    Real<T>* sums = partial<Real<T>>(job, sample, chunk) + part.first;
    for_channel_blocks<V, 2>(part.c, [&](int64_t j, auto vectors, int64_t lanes) {
      constexpr int k = decltype(vectors)::value;
      V va[k], vb[k], mean[k], sum[k], products[k];
      for (int v = 0; v < k; ++v) {
        va[v] = load<V>(a + j + v * V::lanes, lanes);
        vb[v] = load<V>(a + c + j + v * V::lanes, lanes);
        mean[v] = load<V>(a + 2 * c + j + v * V::lanes, lanes);
        sum[v] = products[v] = V(0);
      }
      for (int64_t pixel = 0; pixel < count; ++pixel)
        for (int v = 0; v < k; ++v) {
          const int64_t at = pixel * part.c + j + v * V::lanes;
          const V in = load<V>(x + at, lanes);
          const V dz =
              math::group_norm_dz<silu>(load<V>(dy + pixel * c + j + v * V::lanes, lanes), in, va[v], vb[v]);
          sum[v] += dz;
          products[v] = fma(dz, in - mean[v], products[v]);
          if constexpr (write) store(dz, dz_out + at, lanes);
        }
      for (int v = 0; v < k; ++v) {
        store(sum[v], sums + j + v * V::lanes, lanes);
        store(products[v], sums + c + j + v * V::lanes, lanes);
      }
    });
  });
}

// With u = dz gamma (1 + s) and averages over the group: dx = rstd (u - <u> - xhat <u xhat>).
template <class T>
void backward_reduce_of(const GroupNormJob& job, int64_t sample) {
  using R = Real<T>;
  const int64_t c = job.c, groups = job.params.groups, size = c / groups;
  const double count = static_cast<double>(job.pixels * size);
  double* total = add_chunks<R>(job, sample);
  R* coefficient = coefficients<R>(job, sample);
  for (int64_t group = 0; group < groups; ++group) {
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
    for (int64_t j = group * size; j < (group + 1) * size; ++j) {
      // p is a itself, which stays in place; b stays for dtypes that compute dz again.
      coefficient[2 * c + j] = q;
      coefficient[3 * c + j] = r;
    }
  }
  if (job.gradients.dscale_shift)
    for (int64_t j = 0; j < c; ++j) {
      set(job.gradients.dscale_shift, sample * 2 * c + j,
          parameter(job.in.gamma, j, 1) * total[c + j] + parameter(job.in.beta, j, 0) * total[j]);
      set(job.gradients.dscale_shift, sample * 2 * c + c + j, total[j]);
    }
}

template <class T, bool silu>
void backward_apply_of(const GroupNormJob& job, int64_t sample, int64_t begin, int64_t end) {
  using V = Vec<Real<T>>;
  const int64_t c = job.c, last = smaller(job.pixels, end * job.chunk_pixels);
  for_parts(job, [&](const Part& part) {
    const Real<T>* a = coefficients<Real<T>>(job, sample) + part.first;
    for (int64_t pixel = begin * job.chunk_pixels; pixel < last; ++pixel) {
      const T* x = row<T>(part.x, part.c, job, sample, pixel);
      const T* dy = row<T>(job.dy, c, job, sample, pixel) + part.first;
      T* dx = row<T>(part.dx, part.c, job, sample, pixel);
      for_channel_blocks<V, 2>(part.c, [&](int64_t j, auto vectors, int64_t lanes) {
        for (int v = 0; v < decltype(vectors)::value; ++v, j += V::lanes) {
          const V in = load<V>(x + j, lanes), p = load<V>(a + j, lanes);
          V dz;
          if constexpr (!silu)
            dz = load<V>(dy + j, lanes);
          else if constexpr (keeps_dz<T>)
            dz = load<V>(dx + j, lanes);
          else
            dz = math::group_norm_dz<true>(load<V>(dy + j, lanes), in, p, load<V>(a + c + j, lanes));
          store(fma(p, dz, fma(load<V>(a + 2 * c + j, lanes), in, load<V>(a + 3 * c + j, lanes))), dx + j,
                lanes);
        }
      });
    }
  });
}

// Calls f with a value of the storage type of x.
template <class F>
TW_INLINE void with_type(const GroupNormJob& job, F f) {
  switch (job.in.x.dtype) {
    case DType::f64:
      return f(double{});
    case DType::bf16:
      return f(bf16{});
    default:
      return f(float{});
  }
}

void forward_sums(const GroupNormJob& job, int64_t sample, int64_t begin, int64_t end) {
  with_type(job, [&]<class T>(T) {
    for (int64_t chunk = begin; chunk < end; ++chunk) forward_sums_of<T>(job, sample, chunk);
  });
}
void forward_reduce(const GroupNormJob& job, int64_t sample) {
  with_type(job, [&]<class T>(T) { forward_reduce_of<T>(job, sample); });
}
void forward_apply(const GroupNormJob& job, int64_t sample, int64_t begin, int64_t end) {
  with_type(job, [&]<class T>(T) {
    job.params.silu ? forward_apply_of<T, true>(job, sample, begin, end)
                    : forward_apply_of<T, false>(job, sample, begin, end);
  });
}
void backward_prepare(const GroupNormJob& job, int64_t sample) {
  with_type(job, [&]<class T>(T) { backward_prepare_of<T>(job, sample); });
}
void backward_sums(const GroupNormJob& job, int64_t sample, int64_t begin, int64_t end) {
  with_type(job, [&]<class T>(T) {
    const bool write = keeps_dz<T> && job.gradients.dx;
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      if (!job.params.silu)
        backward_sums_of<T, false, false>(job, sample, chunk);
      else if (write)
        backward_sums_of<T, true, true>(job, sample, chunk);
      else
        backward_sums_of<T, true, false>(job, sample, chunk);
    }
  });
}
void backward_reduce(const GroupNormJob& job, int64_t sample) {
  with_type(job, [&]<class T>(T) { backward_reduce_of<T>(job, sample); });
}
void backward_apply(const GroupNormJob& job, int64_t sample, int64_t begin, int64_t end) {
  with_type(job, [&]<class T>(T) {
    job.params.silu ? backward_apply_of<T, true>(job, sample, begin, end)
                    : backward_apply_of<T, false>(job, sample, begin, end);
  });
}

void backward_parameters(const GroupNormJob& job) {
  const int64_t c = job.c;
  for (int64_t j = 0; j < c; ++j) {
    double dgamma = 0, dbeta = 0;
    for (int64_t sample = 0; sample < job.n && job.pixels > 0; ++sample) {
      const double scale = 1 + parameter(job.in.scale_shift, sample * 2 * c + j, 0);
      dbeta += scale * job.totals[sample * 2 * c + j];
      dgamma += scale * job.totals[sample * 2 * c + c + j];
    }
    if (job.gradients.dgamma) set(job.gradients.dgamma, j, dgamma);
    if (job.gradients.dbeta) set(job.gradients.dbeta, j, dbeta);
  }
}

}  // namespace

template <>
const GroupNormKernels& kernels_of<GroupNormKernels, Isa::TW_ISA>() {
  static const GroupNormKernels kernels{forward_sums,  forward_reduce,  forward_apply,  backward_prepare,
                                        backward_sums, backward_reduce, backward_apply, backward_parameters};
  return kernels;
}

}  // namespace tw::kernels
