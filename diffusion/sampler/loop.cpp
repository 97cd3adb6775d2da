#include "diffusion/sampler/loop.h"

#include <limits>
#include <utility>

#include "autograd/ops/binary.h"
#include "autograd/ops/concat.h"
#include "autograd/ops/predict_x0.h"
#include "autograd/ops/reshape.h"
#include "autograd/ops/unary.h"
#include "diffusion/sampler/step_runner.h"

namespace tw {

std::vector<int64_t> SamplerTable::timesteps() const {
  std::vector<int64_t> all;
  for (const SamplerRow& row : rows) all.push_back(row.timestep);
  return all;
}

std::function<void(const std::function<void()>& body)> planned_steps(std::shared_ptr<PlannedArena> arena) {
  return [loop = PlannedLoop(std::move(arena))](const std::function<void()>& body) mutable {
    loop.step([&] {
      body();
      return true;
    });
  };
}

Tensor sample(const Denoiser& network, const SamplerTable& table, const Tensor& x_T, NoiseSource& noise,
              const LoopOptions& options) {
  const NoGrad no_grad;
  Tensor x = x_T.clone(), next = Tensor::empty(x.shape(), x.dtype(), x.device());
  Tensor x0 = options.observe ? Tensor::empty(x.shape(), x.dtype(), x.device()) : Tensor();
  StepRunner runner(table, network, x, noise, options);
  const int64_t steps = static_cast<int64_t>(table.rows.size());
  for (int64_t i = 0; i < steps; ++i) {
    const SamplerRow& row = table.rows[static_cast<size_t>(i)];
    runner.prepare(i);
    runner.run(x, next, [&] {
      Tensor z = runner.noise();
      const Var output = mean_output(table, row, x, network(x, i), z, runner.variance_bounds());
      std::vector<kernels::SamplerStep> step;
      if (!runner.coefficients().defined()) step = step_of(table, row, x, output.value());
      kernels::sampler_step(step, {.x = x.view(),
                                   .output = output.value().view(),
                                   .noise = z.view(),
                                   .gradient = {},
                                   .x0 = x0.view(),
                                   .next = next.view(),
                                   .coefficients = runner.coefficients().view()});
    });
    next.bump_version();
    if (options.observe) options.observe({i, steps, row.timestep, x, x0, {}});
    runner.advance(x, next);
  }
  return x;
}

VarianceBounds variance_bounds_of(const SamplerRow& row) {
  const double spread = row.log_large - row.log_small;
  return {.factor = spread / 4, .shift = row.log_small / 2 + spread / 4};
}

Var mean_output(const SamplerTable& table, const SamplerRow& row, const Var& x, const Var& output, Tensor& z,
                const Tensor& bounds) {
  const int64_t channels = x.dim(-1);
  if (table.learned == LearnedVariance::none) {
    check(output.shape() == x.shape(), "sampler", "the network returned ", output.shape(),
          " for an image of ", x.shape());
    return cast(output, x.dtype());
  }
  check(output.dim(-1) == 2 * channels, "sampler", "a learned variance needs a network output of ",
        2 * channels, " channels, found ", output.shape());
  if (z.defined()) {
    const NoGrad no_grad;
    const Var o2 = cast(slice(output.detach(), -1, channels, 2 * channels), x.dtype());
    const auto range_std = [&] {
      if (bounds.defined()) return exp(add(mul(o2, bounds.slice(0, 0, 1)), bounds.slice(0, 1, 2)));
      const VarianceBounds b = variance_bounds_of(row);
      return exp(add_scalar(scale(o2, b.factor), b.shift));
    };
    const Var std = table.learned == LearnedVariance::direct ? sqrt(o2) : range_std();
    z = mul(std, z).value();
  }
  return cast(slice(output, -1, 0, channels), x.dtype());
}

std::vector<kernels::SamplerStep> step_of(const SamplerTable& table, const SamplerRow& row, const Tensor& x,
                                          const Tensor& output) {
  if (!table.range.dynamic) return {row.update};
  const NoGrad no_grad;
  kernels::SamplerStep unclipped = row.update;
  unclipped.clip = std::numeric_limits<double>::infinity();
  std::vector<kernels::SamplerStep> per_image;
  for (double q : dynamic_thresholds(predict_x0(x, output, {unclipped}).value(), table.range)) {
    per_image.push_back(row.update);
    per_image.back().clip = q;
    per_image.back().x0_scale = 1 / q;
  }
  return per_image;
}

}  // namespace tw
