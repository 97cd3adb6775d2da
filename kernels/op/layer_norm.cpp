#include "kernels/op/layer_norm.h"

#include <algorithm>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/layer_norm.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

constexpr int64_t chunk_rows = 32;  // rows whose parameter gradients are summed together

DType statistics_dtype(DType x) { return x == DType::f64 ? DType::f64 : DType::f32; }
int64_t rows_of(const Shape& x) { return x.back() == 0 ? 0 : x.numel() / x.back(); }
int64_t chunks_of(int64_t rows) { return (rows + chunk_rows - 1) / chunk_rows; }

LayerNormJob make_job(const char* op, const LayerNormInputs& in, const View& mean, const View& rstd) {
  const Device device =
      device_of(op, {{"x", in.x}, {"gamma", in.gamma}, {"beta", in.beta}, {"mean", mean}, {"rstd", rstd}});
  check_dense(op, {"x", in.x}, device);
  check(in.x.rank() >= 1, op, "x must be (..., c), found ", in.x.shape);
  const int64_t c = in.x.shape.back();
  for (const Argument& parameter : {Argument{"gamma", in.gamma}, Argument{"beta", in.beta}}) {
    if (!parameter.view) continue;
    check_dense(op, parameter, device);
    check_shape(op, parameter, {c});
    check((parameter.view.dtype == DType::f64) == (in.x.dtype == DType::f64), op, parameter.name, " is ",
          dtype_name(parameter.view.dtype), " beside x in ", dtype_name(in.x.dtype));
  }
  Shape rows;
  for (int i = 0; i + 1 < in.x.rank(); ++i) rows.push_back(in.x.shape[i]);
  for (const Argument& moment : {Argument{"mean", mean}, Argument{"rstd", rstd}}) {
    check_dense(op, moment, device);
    check_shape(op, moment, rows);
    check_dtype(op, moment, statistics_dtype(in.x.dtype));
  }
  LayerNormJob job;
  job.x = in.x, job.gamma = in.gamma, job.beta = in.beta, job.mean = mean, job.rstd = rstd;
  job.rows = rows_of(in.x.shape), job.c = c;
  return job;
}

// The sums of all chunks, in order. which: 0 dgamma, 1 dbeta.
template <class R>
void add_chunks(const R* partial, int64_t chunks, int64_t c, int which, const View& out) {
  R* to = static_cast<R*>(out.pointer);
  for (int64_t j = 0; j < c; ++j) {
    double sum = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      sum += static_cast<double>(partial[(2 * chunk + which) * c + j]);
    to[j] = static_cast<R>(sum);
  }
}

template <class R>
void add_parameters(const LayerNormJob& job, const void* partial) {
  const int64_t chunks = chunks_of(job.rows);
  if (job.gradients.dgamma)
    add_chunks(static_cast<const R*>(partial), chunks, job.c, 0, job.gradients.dgamma);
  if (job.gradients.dbeta) add_chunks(static_cast<const R*>(partial), chunks, job.c, 1, job.gradients.dbeta);
}

}  // namespace

int64_t layer_norm_backward_workspace_bytes(const Shape& x, DType dtype) {
  check(x.rank() >= 1, "layer_norm", "x must be (..., c), found ", x);
  const auto scalar = static_cast<int64_t>(dtype_size(statistics_dtype(dtype)));
  return std::max<int64_t>(64, chunks_of(rows_of(x)) * 2 * x.back() * scalar);
}

void layer_norm_forward(const LayerNormInputs& in, double eps, const View& y, const View& mean,
                        const View& rstd) {
  const OpTimer timer("layer_norm_forward", in.x, y);
  const char* op = "layer_norm_forward";
  LayerNormJob job = make_job(op, in, mean, rstd);
  check_same(op, {{"x", in.x}, {"y", y}}, in.x.device);
  check(eps > 0, op, "eps must be positive, found ", eps);
  job.y = y, job.eps = eps;
  if (in.x.device == Device::cuda) return cuda::call("tw_cuda_layer_norm_forward", job);
  const auto run = active<LayerNormKernels>().forward;
  const int64_t grain = std::max<int64_t>(1, 8192 / std::max<int64_t>(1, job.c));
  parallel_for(job.rows, grain, [&](int64_t begin, int64_t end) { run(job, begin, end); });
}

void layer_norm_backward(const LayerNormInputs& in, const View& mean, const View& rstd, const View& dy,
                         const LayerNormGradients& gradients, const View& workspace) {
  const OpTimer timer("layer_norm_backward", in.x, dy, gradients.dx);
  const char* op = "layer_norm_backward";
  LayerNormJob job = make_job(op, in, mean, rstd);
  check_same(op, {{"x", in.x}, {"dy", dy}}, in.x.device);
  if (gradients.dx) check_same(op, {{"x", in.x}, {"dx", gradients.dx}}, in.x.device);
  for (const Argument& wanted : {Argument{"dgamma", gradients.dgamma}, Argument{"dbeta", gradients.dbeta}}) {
    if (!wanted.view) continue;
    check_dense(op, wanted, in.x.device);
    check_shape(op, wanted, {job.c});
    check_dtype(op, wanted, statistics_dtype(in.x.dtype));
  }
  job.dy = dy, job.gradients = gradients;
  if (in.x.device == Device::cuda) return cuda::call("tw_cuda_layer_norm_backward", job);
  const int64_t bytes = layer_norm_backward_workspace_bytes(in.x.shape, in.x.dtype);
  check(workspace && workspace.numel() * static_cast<int64_t>(dtype_size(workspace.dtype)) >= bytes, op,
        "the workspace must have ", bytes, " bytes");
  const bool parameters = gradients.dgamma || gradients.dbeta;
  const int64_t stride = 2 * job.c * static_cast<int64_t>(dtype_size(statistics_dtype(in.x.dtype)));
  char* partial = static_cast<char*>(workspace.pointer);
  const auto run = active<LayerNormKernels>().backward;
  parallel_for(chunks_of(job.rows), 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk)
      run(job, chunk * chunk_rows, std::min(job.rows, (chunk + 1) * chunk_rows),
          parameters ? partial + chunk * stride : nullptr);
  });
  if (!parameters) return;
  if (in.x.dtype == DType::f64)
    add_parameters<double>(job, partial);
  else
    add_parameters<float>(job, partial);
}

}  // namespace tw::kernels
