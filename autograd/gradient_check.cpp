#include "autograd/gradient_check.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace tw {
namespace {

// Fixed weights without a pattern that a wrong gradient could share.
Tensor weights_like(const Shape& shape) {
  Tensor weights = Tensor::empty(shape, DType::f64);
  double* w = weights.data<double>();
  for (int64_t i = 0; i < shape.numel(); ++i) w[i] = std::sin(1.0 + 1.7 * static_cast<double>(i)) + 0.3;
  return weights;
}

double weighted_sum(const Tensor& y, const Tensor& weights) {
  const std::vector<double> values = y.to_vector(), w = weights.to_vector();
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += values[i] * w[i];
  return sum;
}

}  // namespace

GradientCheck check_gradients(const Function& f, const std::vector<Tensor>& inputs, double step,
                              int64_t samples) {
  std::vector<Var> leaves;
  for (const Tensor& input : inputs) {
    check(input.dtype() == DType::f64, "check_gradients", "inputs must be f64, found ",
          dtype_name(input.dtype()));
    leaves.push_back(Var::leaf(input.clone()));
  }
  const Var y = f(leaves);
  const Tensor weights = weights_like(y.shape());
  const std::vector<Tensor> analytic = grad({y}, leaves, {weights});

  GradientCheck result;
  NoGrad no_grad;
  for (size_t k = 0; k < inputs.size(); ++k) {
    const int64_t count = inputs[k].numel(), stride = std::max<int64_t>(1, count / samples);
    for (int64_t i = 0; i < count; i += stride) {
      auto loss_at = [&](double delta) {
        std::vector<Var> moved;
        for (const Tensor& input : inputs) moved.push_back(Var(input.clone()));
        moved[k].mutable_value().data<double>()[i] += delta;
        return weighted_sum(f(moved).value(), weights);
      };
      const double numeric = (loss_at(step) - loss_at(-step)) / (2 * step);
      const double exact = analytic[k].contiguous().data<double>()[i];
      const double error = std::abs(exact - numeric) / std::max(1.0, std::abs(numeric));
      if (error > result.max_error || std::isnan(error)) {
        result.max_error = std::isnan(error) ? INFINITY : error;
        result.worst =
            detail::join("input ", k, ", element ", i, ": analytic ", exact, ", numeric ", numeric);
      }
    }
  }
  return result;
}

}  // namespace tw
