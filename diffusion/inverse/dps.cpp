#include "diffusion/inverse/dps.h"

#include <cmath>
#include <utility>

#include "autograd/ops/predict_x0.h"
#include "autograd/ops/residual_norm.h"
#include "diffusion/sampler/step_runner.h"
#include "kernels/op/step_row.h"
#include "tensor/error.h"
#include "tensor/transfer.h"

namespace tw {
namespace {

// The data term of the last steps, read when there are `most` of them: a repeated step is not waited for.
class Residuals {
 public:
  Residuals(const SamplerTable& table, const Tensor& loss, int64_t most)
      : table_(table), most_(most), kept_(Tensor::empty({most, loss.dim(0)}, loss.dtype(), loss.device())) {}

  // Of step `step`, whose number is at `row` if that is defined.
  void keep(const Tensor& loss, int64_t step, const Tensor& row) {
    if (row.defined())
      kernels::put_row(kept_.view(), row.view(), loss.view());
    else
      kept_.select(0, step % most_).copy_from(loss);
  }

  // Throws Error{numeric} naming the first step whose data term is not finite.
  void check_finite(int64_t step) {
    const int64_t at = step % most_;
    if (at + 1 < most_ && step + 1 < static_cast<int64_t>(table_.rows.size())) return;
    const std::vector<double> values = kept_.slice(0, 0, at + 1).to_vector();
    const int64_t n = kept_.dim(1);
    for (int64_t i = 0; i < (at + 1) * n; ++i)
      if (const double value = values[static_cast<size_t>(i)]; !std::isfinite(value))
        throw Error(ErrorKind::numeric,
                    detail::join("dps: the residual of image ", i % n, " is ", value, " at timestep ",
                                 table_.rows[static_cast<size_t>(step - at + i / n)].timestep,
                                 "; a smaller scale may help"));
  }

 private:
  const SamplerTable& table_;
  int64_t most_;
  Tensor kept_;
};

}  // namespace

Tensor dps(const Denoiser& network, const SamplerTable& table, const LinearOperator& A, const Tensor& y,
           const DpsParams& params, const Tensor& x_T, NoiseSource& noise, const LoopOptions& options) {
  Tensor x = x_T.clone(), next = Tensor::empty(x.shape(), x.dtype(), x.device());
  Tensor x0 = options.observe ? Tensor::empty(x.shape(), x.dtype(), x.device()) : Tensor();
  const DType loss_dtype = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  Tensor loss = Tensor::empty({x.dim(0)}, loss_dtype, x.device());
  const Tensor ones = Tensor::full({x.dim(0)}, 1, loss_dtype, x.device());
  StepRunner runner(table, network, x, noise, options, -params.scale);
  Residuals residuals(table, loss, runner.repeats() ? 16 : 1);
  const int64_t steps = static_cast<int64_t>(table.rows.size());
  for (int64_t i = 0; i < steps; ++i) {
    const SamplerRow& row = table.rows[static_cast<size_t>(i)];
    runner.prepare(i);
    runner.run(x, next, [&] {
      Tensor z = runner.noise();
      const Var x_t = Var::leaf(x);
      const Var output = mean_output(table, row, x_t, network(x_t, i), z, runner.variance_bounds());
      std::vector<kernels::SamplerStep> step;
      if (!runner.coefficients().defined()) step = step_of(table, row, x, output.value());
      const Var l =
          residual_norm(y, A.apply(predict_x0(x_t, output, step, runner.coefficients())), params.residual);
      loss.copy_from(l.value());
      const Tensor g = grad({l}, {x_t}, {ones})[0];
      for (kernels::SamplerStep& s : step) s.next_from_gradient = -params.scale;
      kernels::sampler_step(step, {.x = x.view(),
                                   .output = output.value().view(),
                                   .noise = z.view(),
                                   .gradient = g.view(),
                                   .x0 = x0.view(),
                                   .next = next.view(),
                                   .coefficients = runner.coefficients().view()});
      residuals.keep(loss, i, runner.row());
    });
    next.bump_version();
    residuals.check_finite(i);
    if (options.observe) options.observe({i, steps, row.timestep, x, x0, loss});
    runner.advance(x, next);
  }
  return x;
}

}  // namespace tw
