#include "diffusion/sampler/step_runner.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "tensor/transfer.h"

namespace tw {
namespace {

// The first step fills caches, the second records the memory plan.
constexpr int64_t steps_before_capture = 2;

}  // namespace

StepRunner::StepRunner(const SamplerTable& table, const Denoiser& network, const Tensor& x_T,
                       NoiseSource& noise, const LoopOptions& options, double next_from_gradient)
    : table_(table),
      network_(network),
      source_(noise),
      options_(options),
      repeats_(options.repeat && x_T.device() == Device::cuda && network.repeatable() &&
               !table.range.dynamic),  // whose thresholds the host computes
      dtype_(x_T.dtype()),
      device_(x_T.device()) {
  if (!repeats_) return;
  const auto steps = static_cast<int64_t>(table.rows.size());
  const int64_t count = kernels::sampler_coefficients;
  Tensor coefficients = Tensor::empty({steps, count}, DType::f64);
  Tensor bounds = Tensor::empty({steps, 2}, DType::f64);
  bool draws = false;
  for (int64_t i = 0; i < steps; ++i) {
    const SamplerRow& row = table.rows[static_cast<size_t>(i)];
    kernels::SamplerStep update = row.update;
    update.next_from_gradient = next_from_gradient;
    if (!row.draws_noise) update.next_from_noise = 0;  // every step has z
    draws = draws || row.draws_noise;
    std::memcpy(coefficients.data<double>() + i * count, &update, sizeof update);
    const VarianceBounds b = variance_bounds_of(row);
    bounds.data<double>()[2 * i] = b.factor;
    bounds.data<double>()[2 * i + 1] = b.shift;
  }
  all_coefficients_ = to_device(coefficients, device_);
  coefficients_ = Tensor::empty({count}, DType::f64, device_);
  if (table.learned == LearnedVariance::range) {
    all_bounds_ = to_device(bounds.to(dtype_), device_);
    bounds_ = Tensor::empty({2}, dtype_, device_);
  }
  if (draws) noise_ = Tensor::zeros(x_T.shape(), dtype_, device_);
}

void StepRunner::prepare(int64_t step) {
  network_.prepare(step);
  const bool draws = table_.rows[static_cast<size_t>(step)].draws_noise;
  if (!repeats_) {
    noise_ = draws ? to_device(source_.draw(draws_++), device_).to(dtype_) : Tensor();
    return;
  }
  if (draws) noise_.copy_from(to_device(source_.draw(draws_++), device_));
  coefficients_.copy_from(all_coefficients_.select(0, step));
  if (bounds_.defined()) bounds_.copy_from(all_bounds_.select(0, step));
}

void StepRunner::run(const std::function<void()>& body) {
  const auto in_scope = [&](const std::function<void()>& step) {
    options_.scope ? options_.scope(step) : step();
  };
  if (!repeats_ || ran_ < steps_before_capture) {
    in_scope(body);
  } else {
    if (!graph_.captured()) {
      in_scope([&] { graph_.capture(body); });
      if (options_.captured) options_.captured(graph_.nodes());
    }
    graph_.launch();
  }
  ++ran_;
}

void StepRunner::advance(Tensor& x, Tensor& next) const {
  if (repeats_)  // its addresses stay
    x.copy_from(next);
  else
    std::swap(x, next);
}

}  // namespace tw
