#include "nn/ema.h"

#include "nn/named_tensors.h"

namespace tw {

Ema::Ema(const Module& module, const EmaSettings& settings) : settings_(settings) {
  const AllocatorScope scope(system_allocator());  // the averages live as long as the parameters
  for (const Parameter& parameter : module.parameters())
    averages_.emplace_back(parameter.name, parameter.value.value().clone());
  updates_ = Tensor::zeros({1}, DType::i64, averages_.empty() ? Device::cpu : averages_[0].second.device());
}

int64_t Ema::updates() const { return static_cast<int64_t>(updates_.item()); }

std::map<std::string, Tensor> Ema::state() const { return {averages_.begin(), averages_.end()}; }

void Ema::load_state(const std::map<std::string, Tensor>& state, int64_t updates) {
  for (auto& [name, average] : averages_)
    average.copy_from(named_tensor("ema", state, name, average.shape()));
  updates_.copy_from(Tensor::from(std::vector<int64_t>{updates}));
}

EmaScope::EmaScope(Module& module, const Ema& ema) {
  size_t i = 0;
  for (Parameter& parameter : module.parameters()) {
    originals_.emplace_back(parameter.value, parameter.value.value());
    parameter.value.mutable_value() = ema.average(i++);
  }
}

EmaScope::~EmaScope() {
  for (auto& [parameter, original] : originals_) parameter.mutable_value() = original;
}

}  // namespace tw
