#include "nn/optimiser.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "autograd/workspace.h"
#include "kernels/op/square_sum.h"
#include "nn/named_tensors.h"
#include "tensor/transfer.h"

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
  const bool on_host = slots_.empty() || slots_[0].parameter.device() == Device::cpu;
  check(!settings.scale_loss || !on_host, "optimiser", "the loss is scaled on CUDA devices only");
  if (on_host) return;
  numbers_ = Tensor::empty({static_cast<int64_t>(sizeof(kernels::UpdateNumbers))}, DType::u8,
                           slots_[0].parameter.device());
  write_numbers({}, 0, sizeof(kernels::UpdateNumbers));
  if (settings.scale_loss)
    loss_scale_ = Tensor::full({}, kernels::LossScale().scale, DType::f32, numbers_.device());
}

Optimiser::Report Optimiser::step(double learning_rate, double gradient_scale, Ema* ema) {
  if (numbers_.defined()) {
    prepare(learning_rate, gradient_scale);
    queue(ema);
    const kernels::UpdateNumbers left = read_numbers(numbers_);
    return {.gradient_norm = left.gradient_norm,
            .finite = left.finite != 0,
            .overflowed = left.overflowed != 0,
            .loss_scale = loss_scale_.defined() ? left.loss_scale.scale : 1};
  }
  std::vector<Var> parameters;
  for (const Slot& slot : slots_) parameters.push_back(slot.parameter);
  Report report{.gradient_norm = global_gradient_norm(parameters) * gradient_scale};
  report.finite = std::isfinite(report.gradient_norm);
  if (report.finite) {
    const bool clip = settings_.clip_norm > 0 && report.gradient_norm > settings_.clip_norm;
    kernels::AdamParams params = adam_params();
    params.lr = learning_rate;
    params.step = ++steps_;
    params.grad_scale = gradient_scale * (clip ? settings_.clip_norm / (report.gradient_norm + 1e-6) : 1);
    if (ema) params.ema_decay = ema->settings().at(ema->counter().data<int64_t>()[0]++);
    kernels::adam_step(params, tensors(ema));
    changed(ema);
  }
  clear_gradients();
  return report;
}

void Optimiser::prepare(double learning_rate, double gradient_scale) {
  check(numbers_.defined(), "optimiser", "a step in parts is for parameters on a device");
  const kernels::UpdateNumbers next{.learning_rate = learning_rate, .gradient_scale = gradient_scale};
  write_numbers(next, offsetof(kernels::UpdateNumbers, learning_rate), 2 * sizeof(double));
}

void Optimiser::queue(Ema* ema, const Tensor& losses) {
  check(numbers_.defined(), "optimiser", "a step in parts is for parameters on a device");
  const std::vector<kernels::AdamTensors> all = tensors(ema);
  std::vector<View> gradients;
  for (const kernels::AdamTensors& one : all) gradients.push_back(one.gradient);
  kernels::update_numbers({.adam = adam_params(),
                           .clip_norm = settings_.clip_norm,
                           .ema = ema ? ema->settings() : EmaSettings(),
                           .loss_scale = settings_.loss_scale},
                          gradients, losses.view(), numbers_.view(), ema ? ema->counter().view() : View(),
                          loss_scale_.view());
  if (!all.empty()) kernels::adam_step(numbers_.view(), all);
  changed(ema);
  clear_gradients();
}

void Optimiser::changed(Ema* ema) {
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (!slots_[i].parameter.requires_grad()) continue;
    slots_[i].parameter.mutable_value().bump_version();
    if (ema) Tensor(ema->average(i)).bump_version();
  }
}

kernels::AdamParams Optimiser::adam_params() const {
  return {.beta1 = settings_.beta1,
          .beta2 = settings_.beta2,
          .eps = settings_.eps,
          .weight_decay = settings_.weight_decay,
          .decoupled = settings_.decoupled};
}

std::vector<kernels::AdamTensors> Optimiser::tensors(Ema* ema) {
  std::vector<kernels::AdamTensors> all;
  for (size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    const Tensor& gradient = slot.parameter.grad();
    if (!gradient.defined()) continue;
    all.push_back({.parameter = slot.parameter.value().view(),
                   .gradient = gradient.view(),
                   .m = slot.exp_avg.view(),
                   .v = slot.exp_avg_sq.view(),
                   .ema = ema ? ema->average(i).view() : View(),
                   .bf16_copy = View()});
  }
  return all;
}

void Optimiser::clear_gradients() {
  for (Slot& slot : slots_) slot.parameter.clear_grad();
}

void Optimiser::write_numbers(const kernels::UpdateNumbers& numbers, size_t first, size_t bytes) {
  std::vector<uint8_t> some(bytes);
  std::memcpy(some.data(), reinterpret_cast<const char*>(&numbers) + first, bytes);
  const auto begin = static_cast<int64_t>(first);
  numbers_.slice(0, begin, begin + static_cast<int64_t>(bytes)).copy_from(Tensor::from(some));
}

kernels::UpdateNumbers read_numbers(const Tensor& numbers) {
  kernels::UpdateNumbers result;
  const Tensor on_host = to_device(numbers, Device::cpu);
  std::memcpy(&result, on_host.data<uint8_t>(), sizeof result);
  return result;
}

int64_t Optimiser::steps() const { return numbers_.defined() ? read_numbers(numbers_).steps : steps_; }

kernels::LossScale Optimiser::loss_scaling() const {
  return loss_scale_.defined() ? read_numbers(numbers_).loss_scale : kernels::LossScale();
}

std::map<std::string, Tensor> Optimiser::state() const {
  std::map<std::string, Tensor> result;
  for (const Slot& slot : slots_) {
    result[slot.name + ".exp_avg"] = slot.exp_avg;
    result[slot.name + ".exp_avg_sq"] = slot.exp_avg_sq;
  }
  return result;
}

void Optimiser::load_state(const std::map<std::string, Tensor>& state, int64_t steps,
                           const kernels::LossScale& loss_scale) {
  for (Slot& slot : slots_) {
    slot.exp_avg.copy_from(named_tensor("optimiser", state, slot.name + ".exp_avg", slot.exp_avg.shape()));
    slot.exp_avg_sq.copy_from(
        named_tensor("optimiser", state, slot.name + ".exp_avg_sq", slot.exp_avg_sq.shape()));
  }
  steps_ = steps;
  if (!numbers_.defined()) return;
  write_numbers({.steps = steps, .loss_scale = loss_scale}, offsetof(kernels::UpdateNumbers, steps),
                sizeof steps + sizeof loss_scale);
  if (loss_scale_.defined()) loss_scale_.fill(loss_scale.scale);
}

}  // namespace tw
