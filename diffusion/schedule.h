// The noise schedule of a discrete-time diffusion: beta[t] and alpha_bar[t] = prod_{s <= t} (1 - beta[s]).
//
//   x_t = sqrt(alpha_bar[t]) x0 + sqrt(1 - alpha_bar[t]) eps            (Ho et al. 2020, eq. 4)
//
// t is zero-based and alpha_bar[0] = 1 - beta[0], never 1. Models published with diffusers were trained and
// are sampled with tables in float32: a float64 table gives samples that differ by 1e-5 to 8e-5, because 1 -
// alpha_bar[0] = 1e-4 keeps only 3.5 digits in float32. So the precision of the table is part of the model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tw {

enum class BetaSchedule {
  linear,             // beta equally spaced
  scaled_linear,      // sqrt(beta) equally spaced (latent diffusion)
  squaredcos_cap_v2,  // alpha_bar(u) = cos^2((u + 0.008) / 1.008 pi / 2), beta <= 0.999 (Nichol & Dhariwal)
  sigmoid,            // beta is a sigmoid over [-6, 6] (diffusers)
  sigmoid_alpha_bar,  // alpha_bar is a sigmoid over [-3, 3] (Jabri et al. 2022, as in lucidrains' code)
};

enum class TablePrecision {
  f32_diffusers,  // beta and 1 - beta in f32; the product accumulated in f64, every entry rounded to f32
  f64,            // all in f64 (guided-diffusion, lucidrains)
};

struct ScheduleParams {
  BetaSchedule kind = BetaSchedule::linear;
  int64_t steps = 1000;
  double beta_start = 1e-4, beta_end = 0.02;  // unused by squaredcos_cap_v2 and sigmoid_alpha_bar
  bool scale_endpoints = false;               // `linear` only: both ends times 1000 / steps (OpenAI)
  bool zero_terminal_snr = false;  // shift so that alpha_bar[T-1] = 0 (Lin et al. 2023, algorithm 1)
  TablePrecision precision = TablePrecision::f32_diffusers;
  std::vector<double> trained_betas{};  // when not empty, overrides everything but the precision
};

class Schedule {
 public:
  // Throws unless steps >= 1 and every beta lies in [0, 1].
  explicit Schedule(const ScheduleParams& params = {});

  const ScheduleParams& params() const { return params_; }
  int64_t steps() const { return static_cast<int64_t>(beta_.size()); }
  double beta(int64_t t) const { return beta_[index(t)]; }
  // alpha_bar of "before the first step" (t = -1) is 1.
  double alpha_bar(int64_t t) const { return t == -1 ? 1.0 : alpha_bar_[index(t)]; }
  double signal(int64_t t) const;  // a = sqrt(alpha_bar)
  double noise(int64_t t) const;   // s = sqrt(1 - alpha_bar)
  double snr(int64_t t) const;     // alpha_bar / (1 - alpha_bar)

 private:
  size_t index(int64_t t) const;  // throws when t is outside [0, steps)

  ScheduleParams params_;
  std::vector<double> beta_, alpha_bar_;
};

const char* name_of(BetaSchedule kind);  // the names of diffusers' configs; "sigmoid_alpha_bar"
BetaSchedule beta_schedule_from_name(const std::string& name);  // also accepts "cosine"; throws listing them
const char* name_of(TablePrecision precision);                  // "f32_diffusers", "f64"
TablePrecision table_precision_from_name(const std::string& name);

}  // namespace tw
