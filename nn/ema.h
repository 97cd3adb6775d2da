// Exponential moving average of a module's parameters: ema <- ema + (1 - decay) (parameter - ema) after every
// step.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/math/ema_decay.h"
#include "nn/module.h"

namespace tw {

using EmaSettings = kernels::EmaDecay;  // the decay and how it approaches its limit

class Ema {
 public:
  Ema(const Module& module,
      const EmaSettings& settings);  // starts as a copy of the parameters, in f32 (f64 for f64)

  const EmaSettings& settings() const { return settings_; }
  // The average of parameter i in the module's order. Whoever writes it (the fused optimiser step) counts.
  const Tensor& average(size_t i) const { return averages_[i].second; }
  // (1) i64, where the averages are.
  const Tensor& counter() const { return updates_; }

  int64_t updates() const;                      // waits for a device
  std::map<std::string, Tensor> state() const;  // by parameter name
  void load_state(const std::map<std::string, Tensor>& state,
                  int64_t updates);  // throws naming a tensor that is missing or of another shape

 private:
  EmaSettings settings_;
  std::vector<std::pair<std::string, Tensor>> averages_;
  Tensor updates_;
};

// While one is alive the module computes with the averages instead of its parameters.
class EmaScope {
 public:
  EmaScope(Module& module, const Ema& ema);
  ~EmaScope();
  EmaScope(const EmaScope&) = delete;
  EmaScope& operator=(const EmaScope&) = delete;

 private:
  std::vector<std::pair<Var, Tensor>> originals_;
};

}  // namespace tw
