#include "nn/optimiser.h"

#include <algorithm>
#include <cmath>

#include "autograd/workspace.h"
#include "kernels/op/adam.h"
#include "kernels/op/square_sum.h"
#include "nn/named_tensors.h"

namespace tw {

double global_gradient_norm(const std::vector<Var>& parameters) {
  std::vector<View> gradients;
  int64_t largest = 0;
  for (const Var& parameter : parameters) {
    if (!parameter.grad().defined()) continue;
    gradients.push_back(parameter.grad().view());
    largest = std::max(largest, gradients.back().numel());
  }
  if (gradients.empty()) return 0;
  const Tensor scratch = workspace(kernels::square_sum_workspace_bytes(largest), gradients[0].device);
  return std::sqrt(kernels::square_sum(gradients, scratch.view()));
}

Optimiser::Optimiser(const Module& module, const OptimiserSettings& settings) : settings_(settings) {
  const AllocatorScope scope(system_allocator());  // the state lives as long as the parameters
  for (const Parameter& parameter : module.parameters()) {
    const Tensor& value = parameter.value.value();
    const auto zeros = [&] { return Tensor::zeros(value.shape(), value.dtype(), value.device()); };
    slots_.push_back({parameter.name, parameter.value, zeros(), zeros()});
  }
}

Optimiser::Report Optimiser::step(double learning_rate, double gradient_scale, Ema* ema) {
  std::vector<Var> parameters;
  for (const Slot& slot : slots_) parameters.push_back(slot.parameter);
  Report report{.gradient_norm = global_gradient_norm(parameters) * gradient_scale};
  report.finite = std::isfinite(report.gradient_norm);
  if (report.finite) {
    const bool clip = settings_.clip_norm > 0 && report.gradient_norm > settings_.clip_norm;
    const kernels::AdamParams params{
        .lr = learning_rate,
        .beta1 = settings_.beta1,
        .beta2 = settings_.beta2,
        .eps = settings_.eps,
        .weight_decay = settings_.weight_decay,
        .decoupled = settings_.decoupled,
        .step = ++steps_,
        .grad_scale = gradient_scale * (clip ? settings_.clip_norm / (report.gradient_norm + 1e-6) : 1),
        .ema_decay = ema ? ema->next_decay() : -1};
    std::vector<kernels::AdamTensors> tensors;
    for (size_t i = 0; i < slots_.size(); ++i) {
      Slot& slot = slots_[i];
      const Tensor& gradient = slot.parameter.grad();
      if (!gradient.defined()) continue;
      Tensor& value = slot.parameter.mutable_value();
      tensors.push_back({.parameter = value.view(),
                         .gradient = gradient.view(),
                         .m = slot.exp_avg.view(),
                         .v = slot.exp_avg_sq.view(),
                         .ema = ema ? ema->average(i).view() : View(),
                         .bf16_copy = View()});
      value.bump_version();
      if (ema) Tensor(ema->average(i)).bump_version();
    }
    kernels::adam_step(params, tensors);
    if (ema) ema->count_update();
  }
  for (Slot& slot : slots_) slot.parameter.clear_grad();
  return report;
}

std::map<std::string, Tensor> Optimiser::state() const {
  std::map<std::string, Tensor> result;
  for (const Slot& slot : slots_) {
    result[slot.name + ".exp_avg"] = slot.exp_avg;
    result[slot.name + ".exp_avg_sq"] = slot.exp_avg_sq;
  }
  return result;
}

void Optimiser::load_state(const std::map<std::string, Tensor>& state, int64_t steps) {
  for (Slot& slot : slots_) {
    slot.exp_avg.copy_from(named_tensor("optimiser", state, slot.name + ".exp_avg", slot.exp_avg.shape()));
    slot.exp_avg_sq.copy_from(
        named_tensor("optimiser", state, slot.name + ".exp_avg_sq", slot.exp_avg_sq.shape()));
  }
  steps_ = steps;
}

}  // namespace tw
