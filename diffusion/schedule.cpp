#include "diffusion/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tensor/error.h"

namespace tw {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// `count` values from `first` to `last`, both included.
std::vector<double> equally_spaced(double first, double last, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count), first);
  for (int64_t i = 1; i < count; ++i)
    values[static_cast<size_t>(i)] =
        i == count - 1 ? last
                       : first + (last - first) * static_cast<double>(i) / static_cast<double>(count - 1);
  return values;
}

// beta[i] = 1 - alpha_bar((i + 1) / T) / alpha_bar(i / T), at most 0.999.
template <class AlphaBar>
std::vector<double> betas_from(AlphaBar alpha_bar, int64_t steps) {
  std::vector<double> betas(static_cast<size_t>(steps));
  const double T = static_cast<double>(steps);
  for (int64_t i = 0; i < steps; ++i) {
    const double now = static_cast<double>(i) / T, next = static_cast<double>(i + 1) / T;
    betas[static_cast<size_t>(i)] = std::clamp(1 - alpha_bar(next) / alpha_bar(now), 0.0, 0.999);
  }
  return betas;
}

double cosine_alpha_bar(double u) {
  const double c = std::cos((u + 0.008) / 1.008 * std::numbers::pi / 2);
  return c * c;
}

double sigmoid_alpha_bar(double u) {
  constexpr double start = -3, end = 3;
  return (sigmoid(end) - sigmoid(u * (end - start) + start)) / (sigmoid(end) - sigmoid(start));
}

// One schedule in arithmetic of type R: float reproduces diffusers' tables, double those of guided-diffusion.
template <class R>
struct Tables {
  std::vector<R> beta, alpha_bar;

  explicit Tables(const ScheduleParams& p) {
    make_betas(p);
    multiply_up();
    if (p.zero_terminal_snr) rescale_to_zero_terminal_snr();
  }

  void make_betas(const ScheduleParams& p) {
    std::vector<double> values;
    const double scale = p.scale_endpoints ? 1000.0 / static_cast<double>(p.steps) : 1.0;
    if (!p.trained_betas.empty()) {
      values = p.trained_betas;
    } else if (p.kind == BetaSchedule::linear) {
      values = equally_spaced(scale * p.beta_start, scale * p.beta_end, p.steps);
    } else if (p.kind == BetaSchedule::scaled_linear) {
      values = equally_spaced(std::sqrt(p.beta_start), std::sqrt(p.beta_end), p.steps);
    } else if (p.kind == BetaSchedule::squaredcos_cap_v2) {
      values = betas_from(cosine_alpha_bar, p.steps);
    } else if (p.kind == BetaSchedule::sigmoid_alpha_bar) {
      values = betas_from(sigmoid_alpha_bar, p.steps);
    } else {
      values = equally_spaced(-6, 6, p.steps);
    }
    for (double value : values) {
      R b = static_cast<R>(value);
      if (p.trained_betas.empty() && p.kind == BetaSchedule::scaled_linear) b = b * b;
      if (p.trained_betas.empty() && p.kind == BetaSchedule::sigmoid)
        b = R(1) / (R(1) + std::exp(-b)) * static_cast<R>(p.beta_end - p.beta_start) +
            static_cast<R>(p.beta_start);
      beta.push_back(b);
    }
  }

  void multiply_up() {
    alpha_bar.clear();
    double product = 1;
    for (R b : beta) {
      product *= static_cast<double>(R(1) - b);
      alpha_bar.push_back(static_cast<R>(product));
    }
  }

  void rescale_to_zero_terminal_snr() {
    std::vector<R> root;
    for (R a : alpha_bar) root.push_back(std::sqrt(a));
    const R first = root.front(), last = root.back();
    for (R& r : root) {
      r -= last;
      r *= first / (first - last);
    }
    for (size_t t = 0; t < beta.size(); ++t) {
      const R now = root[t] * root[t];
      beta[t] = R(1) - (t == 0 ? now : now / (root[t - 1] * root[t - 1]));
    }
    multiply_up();
  }
};

constexpr struct {
  BetaSchedule kind;
  const char* name;
} schedule_names[] = {{BetaSchedule::linear, "linear"},
                      {BetaSchedule::scaled_linear, "scaled_linear"},
                      {BetaSchedule::squaredcos_cap_v2, "squaredcos_cap_v2"},
                      {BetaSchedule::sigmoid, "sigmoid"},
                      {BetaSchedule::sigmoid_alpha_bar, "sigmoid_alpha_bar"}};

}  // namespace

Schedule::Schedule(const ScheduleParams& params) : params_(params) {
  if (!params_.trained_betas.empty()) params_.steps = static_cast<int64_t>(params_.trained_betas.size());
  check(params_.steps >= 1, "schedule", "needs at least one step, found ", params_.steps);
  check(!params_.zero_terminal_snr || params_.steps > 1, "schedule",
        "zero_terminal_snr needs at least two steps");
  const auto keep = [this](const auto& tables) {
    beta_.assign(tables.beta.begin(), tables.beta.end());
    alpha_bar_.assign(tables.alpha_bar.begin(), tables.alpha_bar.end());
  };
  if (params_.precision == TablePrecision::f64)
    keep(Tables<double>(params_));
  else
    keep(Tables<float>(params_));
  for (size_t t = 0; t < beta_.size(); ++t)
    check(beta_[t] >= 0 && beta_[t] <= 1, "schedule", "beta[", t, "] must lie in [0, 1], found ", beta_[t]);
}

double Schedule::signal(int64_t t) const { return std::sqrt(alpha_bar(t)); }
double Schedule::noise(int64_t t) const { return std::sqrt(1 - alpha_bar(t)); }
double Schedule::snr(int64_t t) const { return alpha_bar(t) / (1 - alpha_bar(t)); }

size_t Schedule::index(int64_t t) const {
  check(t >= 0 && t < steps(), "schedule", "timestep ", t, " is outside [0, ", steps(), ")");
  return static_cast<size_t>(t);
}

const char* name_of(BetaSchedule kind) {
  for (const auto& entry : schedule_names)
    if (entry.kind == kind) return entry.name;
  return "unknown";
}

BetaSchedule beta_schedule_from_name(const std::string& name) {
  if (name == "cosine") return BetaSchedule::squaredcos_cap_v2;
  for (const auto& entry : schedule_names)
    if (name == entry.name) return entry.kind;
  fail("schedule",
       "expected linear, scaled_linear, squaredcos_cap_v2 (cosine), sigmoid or sigmoid_alpha_bar, found '",
       name, "'");
}

const char* name_of(TablePrecision precision) {
  return precision == TablePrecision::f64 ? "f64" : "f32_diffusers";
}

TablePrecision table_precision_from_name(const std::string& name) {
  check(name == "f64" || name == "f32_diffusers", "schedule",
        "expected table precision f32_diffusers or f64, found '", name, "'");
  return name == "f64" ? TablePrecision::f64 : TablePrecision::f32_diffusers;
}

}  // namespace tw
