#include "diffusion/sampler/step_runner.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/op/step_row.h"
#include "tensor/random.h"
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
  std::vector<int64_t> draws_before;
  int64_t draws = 0;
  for (int64_t i = 0; i < steps; ++i) {
    const SamplerRow& row = table.rows[static_cast<size_t>(i)];
    kernels::SamplerStep update = row.update;
    update.next_from_gradient = next_from_gradient;
    draws_before.push_back(draws);
    draws += row.draws_noise;
    std::memcpy(coefficients.data<double>() + i * count, &update, sizeof update);
    const VarianceBounds b = variance_bounds_of(row);
    bounds.data<double>()[2 * i] = b.factor;
    bounds.data<double>()[2 * i + 1] = b.shift;
  }
  row_ = Tensor::zeros({1}, DType::i64, device_);
  all_coefficients_ = to_device(coefficients, device_);
  coefficients_ = Tensor::empty({count}, DType::f64, device_);
  if (table.learned == LearnedVariance::range) {
    all_bounds_ = to_device(bounds.to(dtype_), device_);
    bounds_ = Tensor::empty({2}, dtype_, device_);
  }
  if (draws == 0) return;
  noise_ = Tensor::zeros(x_T.shape(), dtype_, device_);
  const std::vector<RandomKey> keys = noise.keys();
  if (keys.empty() || dtype_ != DType::f32) return;
  std::vector<uint8_t> bytes(keys.size() * sizeof(RandomKey));
  std::memcpy(bytes.data(), keys.data(), bytes.size());
  keys_ = to_device(Tensor::from(bytes), device_);
  all_draws_ = to_device(Tensor::from(draws_before), device_);
  draw_ = Tensor::empty({1}, DType::i64, device_);
}

void StepRunner::prepare(int64_t step) {
  network_.prepare(step);
  if (!table_.rows[static_cast<size_t>(step)].draws_noise) {
    // Steps of a learned variance are planned with a z, which this one does not read.
    if (!repeats_ && table_.learned == LearnedVariance::none) noise_ = Tensor();
  } else if (!repeats_) {
    noise_ = to_device(source_.draw(draws_++), device_).to(dtype_);
  } else if (!keys_.defined()) {
    noise_.copy_from(to_device(source_.draw(draws_++), device_));
  }
}

// What a repeated step does.
void StepRunner::queue(Tensor& x, const Tensor& next, const std::function<void()>& body) {
  kernels::take_row(all_coefficients_.view(), row_.view(), coefficients_.view());
  if (bounds_.defined()) kernels::take_row(all_bounds_.view(), row_.view(), bounds_.view());
  if (keys_.defined()) {
    kernels::take_row(all_draws_.view(), row_.view(), draw_.view());
    fill_normal(noise_, keys_, draw_);
  }
  network_.select(row_);
  body();
  if (!options_.observe) x.copy_from(next);
  kernels::count_up(row_.view());
}

void StepRunner::run(Tensor& x, const Tensor& next, const std::function<void()>& body) {
  const auto in_scope = [&](const std::function<void()>& step) {
    options_.scope ? options_.scope(step) : step();
  };
  if (!repeats_) {
    in_scope(body);
  } else if (ran_ < steps_before_capture) {
    in_scope([&] { queue(x, next, body); });
  } else {
    if (!graph_.captured()) {
      in_scope([&] { graph_.capture([&] { queue(x, next, body); }); });
      if (options_.captured) options_.captured(graph_.nodes());
    }
    graph_.launch();
  }
  ++ran_;
}

void StepRunner::advance(Tensor& x, Tensor& next) const {
  if (!repeats_)
    std::swap(x, next);
  else if (options_.observe)
    x.copy_from(next);  // its addresses stay
}

}  // namespace tw
