#include "diffusion/inverse/dps.h"

#include <cmath>
#include <utility>

#include "autograd/ops/predict_x0.h"
#include "autograd/ops/residual_norm.h"
#include "tensor/error.h"
#include "tensor/transfer.h"

namespace tw {
namespace {

void check_finite(const Tensor& loss, int64_t timestep) {
  const std::vector<double> values = loss.to_vector();
  for (size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      throw Error(ErrorKind::numeric, detail::join("dps: the residual of image ", i, " is ", values[i],
                                                   " at timestep ", timestep, "; a smaller scale may help"));
}

}  // namespace

Tensor dps(const Denoiser& network, const SamplerTable& table, const LinearOperator& A, const Tensor& y,
           const DpsParams& params, const Tensor& x_T, NoiseSource& noise, const LoopOptions& options) {
  Tensor x = x_T.clone(), next = Tensor::empty(x.shape(), x.dtype(), x.device());
  Tensor x0 = options.observe ? Tensor::empty(x.shape(), x.dtype(), x.device()) : Tensor();
  const DType loss_dtype = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  Tensor loss = Tensor::empty({x.dim(0)}, loss_dtype, x.device());
  const Tensor ones = Tensor::full({x.dim(0)}, 1, loss_dtype, x.device());
  const int64_t steps = static_cast<int64_t>(table.rows.size());
  int64_t draws = 0;
  for (int64_t i = 0; i < steps; ++i) {
    const SamplerRow& row = table.rows[static_cast<size_t>(i)];
    const Tensor drawn =
        row.draws_noise ? to_device(noise.draw(draws++), x.device()).to(x.dtype()) : Tensor();
    const auto body = [&] {
      Tensor z = drawn;
      const Var x_t = Var::leaf(x);
      const Var output = mean_output(table, row, x_t, network(x_t, i), z);
      std::vector<kernels::SamplerStep> step = step_of(table, row, x, output.value());
      const Var l = residual_norm(y, A.apply(predict_x0(x_t, output, step)), params.residual);
      loss.copy_from(l.value());
      const Tensor g = grad({l}, {x_t}, {ones})[0];
      for (kernels::SamplerStep& s : step) s.next_from_gradient = -params.scale;
      kernels::sampler_step(step, {.x = x.view(),
                                   .output = output.value().view(),
                                   .noise = z.view(),
                                   .gradient = g.view(),
                                   .x0 = x0.view(),
                                   .next = next.view()});
    };
    options.scope ? options.scope(body) : body();
    next.bump_version();
    check_finite(loss, row.timestep);
    if (options.observe) options.observe({i, steps, row.timestep, x, x0, loss});
    std::swap(x, next);
  }
  return x;
}

}  // namespace tw
