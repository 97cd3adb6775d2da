// Exponential moving average of a module's parameters: ema <- ema + (1 - decay) (parameter - ema) after every
// step.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "nn/module.h"

namespace tw {

struct EmaSettings {
  enum class Warmup : uint8_t { none, ratio, power };
  double decay = 0.9999;
  // How the decay approaches its limit after n updates: not at all; min(decay, (1 + n) / (10 + n)) as
  // score_sde does; or min(decay, 1 - (1 + n)^-power) as diffusers' trainer does.
  Warmup warmup = Warmup::ratio;
  double power = 0.75;

  double at(int64_t updates) const;
};

class Ema {
 public:
  Ema(const Module& module,
      const EmaSettings& settings);  // starts as a copy of the parameters, in f32 (f64 for f64)

  double next_decay() const { return settings_.at(updates_); }
  // The average of parameter i in the module's order. Whoever writes it (the fused optimiser step) calls
  // count_update once a step.
  const Tensor& average(size_t i) const { return averages_[i].second; }
  void count_update() { ++updates_; }

  int64_t updates() const { return updates_; }
  std::map<std::string, Tensor> state() const;  // by parameter name
  void load_state(const std::map<std::string, Tensor>& state,
                  int64_t updates);  // throws naming a tensor that is missing or of another shape

 private:
  EmaSettings settings_;
  std::vector<std::pair<std::string, Tensor>> averages_;
  int64_t updates_ = 0;
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
