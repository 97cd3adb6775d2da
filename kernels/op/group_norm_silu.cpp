#include "kernels/op/group_norm_silu.h"

#include <algorithm>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/group_norm_silu.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

constexpr int64_t elements_per_chunk = 8192;  // about 2 us of work, and within L1
constexpr int64_t alignment = 64;

int64_t round_up(int64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }
DType statistics_dtype(DType x) { return x == DType::f64 ? DType::f64 : DType::f32; }

struct Sizes {
  int64_t n, pixels, c, chunk_pixels, chunks, partial_bytes, coefficient_bytes, total_bytes;

  Sizes(const Shape& x, DType dtype) {
    n = x[0], c = x.back(), pixels = 1;
    for (int i = 1; i + 1 < x.rank(); ++i) pixels *= x[i];
    chunk_pixels = std::clamp<int64_t>(elements_per_chunk / std::max<int64_t>(c, 1), 16, 256);
    chunks = (pixels + chunk_pixels - 1) / chunk_pixels;
    const auto scalar = static_cast<int64_t>(dtype_size(statistics_dtype(dtype)));
    partial_bytes = round_up(n * chunks * 2 * c * scalar);
    coefficient_bytes = round_up(n * 4 * c * scalar);
    total_bytes = round_up(n * 2 * c * static_cast<int64_t>(sizeof(double)));
  }
  int64_t bytes() const { return partial_bytes + coefficient_bytes + total_bytes; }
};

// Of both parts of x together.
Shape whole_shape(const GroupNormInputs& in) {
  return in.x_rest ? in.x.shape.with(-1, in.x.shape.back() + in.x_rest.shape.back()) : in.x.shape;
}

void check_parameter(const char* op, const char* name, const View& parameter, const Shape& expected,
                     DType x) {
  if (!parameter) return;
  check_dense(op, {name, parameter}, parameter.device);
  check_shape(op, {name, parameter}, expected);
  check((parameter.dtype == DType::f64) == (x == DType::f64), op, name, " is ", dtype_name(parameter.dtype),
        " beside x in ", dtype_name(x));
}

// y and dy are whole, contiguous and of x's dtype.
void check_whole(const char* op, const GroupNormInputs& in, const Argument& argument) {
  check_dense(op, argument, in.x.device);
  check_shape(op, argument, whole_shape(in));
  check_dtype(op, argument, in.x.dtype);
}

GroupNormJob make_job(const char* op, const GroupNormParams& params, const GroupNormInputs& in,
                      const View& mean, const View& rstd, const View& workspace) {
  const View& x = in.x;
  const Device device = device_of(op, {{"x", x},
                                       {"x_rest", in.x_rest},
                                       {"gamma", in.gamma},
                                       {"beta", in.beta},
                                       {"scale_shift", in.scale_shift},
                                       {"mean", mean},
                                       {"rstd", rstd},
                                       {"workspace", workspace}});
  check_dense(op, {"x", x}, device);
  check(x.rank() >= 2, op, "x must be (n, ..., c), found ", x.shape);
  if (in.x_rest) {
    check_dense(op, {"x_rest", in.x_rest}, device);
    check_shape(op, {"x_rest", in.x_rest}, x.shape.with(-1, in.x_rest.shape.back()));
    check_dtype(op, {"x_rest", in.x_rest}, x.dtype);
  }
  const Sizes sizes(whole_shape(in), x.dtype);
  check(params.groups >= 1 && sizes.c % params.groups == 0, op, "groups = ", params.groups,
        " does not divide the ", sizes.c, " channels of x ", x.shape);
  check(params.eps > 0, op, "eps must be positive, found ", params.eps);
  check_parameter(op, "gamma", in.gamma, {sizes.c}, x.dtype);
  check_parameter(op, "beta", in.beta, {sizes.c}, x.dtype);
  check_parameter(op, "scale_shift", in.scale_shift, {sizes.n, 2 * sizes.c}, x.dtype);
  for (const Argument& moment : {Argument{"mean", mean}, Argument{"rstd", rstd}}) {
    check_dense(op, moment, device);
    check_shape(op, moment, {sizes.n, params.groups});
    check_dtype(op, moment, statistics_dtype(x.dtype));
  }
  check(workspace && workspace.numel() * static_cast<int64_t>(dtype_size(workspace.dtype)) >= sizes.bytes(),
        op, "the workspace must have ", sizes.bytes(), " bytes");

  GroupNormJob job;
  job.params = params, job.in = in, job.mean = mean, job.rstd = rstd;
  job.n = sizes.n, job.pixels = sizes.pixels, job.c = sizes.c, job.c_first = x.shape.back();
  job.chunk_pixels = sizes.chunk_pixels, job.chunks = sizes.chunks;
  char* memory = static_cast<char*>(workspace.pointer);
  job.partial = memory;
  job.coefficients = memory + sizes.partial_bytes;
  job.totals = reinterpret_cast<double*>(memory + sizes.partial_bytes + sizes.coefficient_bytes);
  return job;
}

// Whole samples go to threads where that is even: a sample then stays in its thread's cache between the
// passes, and one fork is enough. Otherwise chunks do.
bool deal_whole_samples(const GroupNormJob& job) {
  const int threads = thread_count();
  return job.n % threads == 0 || job.n >= 4 * threads || job.chunks == 1;
}

int64_t sample_grain(const GroupNormJob& job) {
  return std::max<int64_t>(1, elements_per_chunk / std::max<int64_t>(1, job.pixels * job.c));
}

template <class F>
void for_chunks(const GroupNormJob& job, F&& run) {
  parallel_for(job.n * job.chunks, 1, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t sample = begin / job.chunks, first = begin % job.chunks;
      const int64_t last = std::min(job.chunks, first + end - begin);
      run(job, sample, first, last);
      begin += last - first;
    }
  });
}

}  // namespace

int64_t group_norm_silu_workspace_bytes(const GroupNormParams&, const Shape& x, DType dtype) {
  check(x.rank() >= 2, "group_norm_silu", "x must be (n, ..., c), found ", x);
  return std::max(alignment, Sizes(x, dtype).bytes());
}

void group_norm_silu_forward(const GroupNormParams& params, const GroupNormInputs& in, const View& y,
                             const View& mean, const View& rstd, const View& workspace) {
  const char* op = "group_norm_silu_forward";
  const OpTimer timer(op, in.x, in.scale_shift, y);
  GroupNormJob job = make_job(op, params, in, mean, rstd, workspace);
  check_whole(op, in, {"y", y});
  job.y = y;
  if (in.x.numel() == 0) return;
  if (in.x.device == Device::cuda) return cuda::call("tw_cuda_group_norm_silu_forward", job);
  const GroupNormKernels& kernels = active<GroupNormKernels>();
  if (deal_whole_samples(job)) {
    parallel_for(job.n, sample_grain(job), [&](int64_t begin, int64_t end) {
      for (int64_t sample = begin; sample < end; ++sample) {
        kernels.forward_sums(job, sample, 0, job.chunks);
        kernels.forward_reduce(job, sample);
        kernels.forward_apply(job, sample, 0, job.chunks);
      }
    });
    return;
  }
  for_chunks(job, kernels.forward_sums);
  for (int64_t sample = 0; sample < job.n; ++sample) kernels.forward_reduce(job, sample);
  for_chunks(job, kernels.forward_apply);
}

void group_norm_silu_backward(const GroupNormParams& params, const GroupNormInputs& in, const View& mean,
                              const View& rstd, const View& dy, const GroupNormGradients& gradients,
                              const View& workspace) {
  const char* op = "group_norm_silu_backward";
  const OpTimer timer(op, in.x, dy, gradients.dx, gradients.dscale_shift);
  GroupNormJob job = make_job(op, params, in, mean, rstd, workspace);
  check_whole(op, in, {"dy", dy});
  job.dy = dy;
  job.gradients = gradients;
  const Device device = in.x.device;
  if (gradients.dx) check_same(op, {{"x", in.x}, {"dx", gradients.dx}}, device);
  check(!in.x_rest || !gradients.dx == !gradients.dx_rest, op, "dx and dx_rest are wanted together");
  if (gradients.dx_rest) check_same(op, {{"x_rest", in.x_rest}, {"dx_rest", gradients.dx_rest}}, device);
  for (const Argument& wanted : {Argument{"dgamma", gradients.dgamma}, Argument{"dbeta", gradients.dbeta}}) {
    if (!wanted.view) continue;
    check_dense(op, wanted, device);
    check_shape(op, wanted, {job.c});
    check_dtype(op, wanted, statistics_dtype(in.x.dtype));
  }
  if (gradients.dscale_shift)
    check_same(op, {{"scale_shift", in.scale_shift}, {"dscale_shift", gradients.dscale_shift}}, device);
  if (device == Device::cuda) return cuda::call("tw_cuda_group_norm_silu_backward", job);
  const GroupNormKernels& kernels = active<GroupNormKernels>();
  if (in.x.numel() > 0 && deal_whole_samples(job)) {
    parallel_for(job.n, sample_grain(job), [&](int64_t begin, int64_t end) {
      for (int64_t sample = begin; sample < end; ++sample) {
        kernels.backward_prepare(job, sample);
        kernels.backward_sums(job, sample, 0, job.chunks);
        kernels.backward_reduce(job, sample);
        if (gradients.dx) kernels.backward_apply(job, sample, 0, job.chunks);
      }
    });
  } else if (in.x.numel() > 0) {
    for (int64_t sample = 0; sample < job.n; ++sample) kernels.backward_prepare(job, sample);
    for_chunks(job, kernels.backward_sums);
    for (int64_t sample = 0; sample < job.n; ++sample) kernels.backward_reduce(job, sample);
    if (gradients.dx) for_chunks(job, kernels.backward_apply);
  }
  if (gradients.dgamma || gradients.dbeta) kernels.backward_parameters(job);
}

}  // namespace tw::kernels
