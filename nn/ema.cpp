#include "nn/ema.h"

#include <algorithm>
#include <cmath>

#include "nn/named_tensors.h"

namespace tw {

double EmaSettings::at(int64_t updates) const {
  const double n = static_cast<double>(updates);
  switch (warmup) {
    case Warmup::none:
      return decay;
    case Warmup::ratio:
      return std::min(decay, (1 + n) / (10 + n));
    case Warmup::power:
      return std::min(decay, 1 - std::pow(1 + n, -power));
  }
  return decay;
}

Ema::Ema(const Module& module, const EmaSettings& settings) : settings_(settings) {
  const AllocatorScope scope(system_allocator());  // the averages live as long as the parameters
  for (const Parameter& parameter : module.parameters())
    averages_.emplace_back(parameter.name, parameter.value.value().clone());
}

std::map<std::string, Tensor> Ema::state() const { return {averages_.begin(), averages_.end()}; }

void Ema::load_state(const std::map<std::string, Tensor>& state, int64_t updates) {
  for (auto& [name, average] : averages_)
    average.copy_from(named_tensor("ema", state, name, average.shape()));
  updates_ = updates;
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
