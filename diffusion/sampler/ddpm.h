// Ancestral sampling (Ho, Jain & Abbeel 2020, algorithm 2), on any descending list of timesteps.
//
//   x_{t-1} = sqrt(abar') beta' / (1 - abar) x0 + sqrt(abar / abar') (1 - abar') / (1 - abar) x_t + std z
//
// with abar = alpha_bar[t], abar' = alpha_bar of the next entry of the list (1 at the end), beta' = 1 - abar
// / abar'. x0 is clipped first. Noise is drawn while t > 0; agreement with diffusers is 5e-6.
#pragma once

#include <string>
#include <vector>

#include "diffusion/sampler/loop.h"
#include "diffusion/schedule.h"

namespace tw {

enum class Variance {
  fixed_small,    // V = (1 - abar') / (1 - abar) beta', at least 1e-20: the posterior's for a known x0
  fixed_large,    // beta'
  learned,        // the raw second half of the network's output
  learned_range,  // between the two, in logarithms
};

struct DdpmParams {
  std::vector<int64_t> timesteps{};  // descending (diffusion/timesteps.h)
  Prediction prediction = Prediction::epsilon;
  Variance variance = Variance::fixed_small;
  ImageRange range{};
};

// Throws unless the timesteps descend within the schedule.
SamplerTable ddpm_table(const Schedule& schedule, const DdpmParams& params);

const char* name_of(Variance variance);
// Also accepts diffusers' fixed_small_log and fixed_large_log, which mean the same standard deviations (the
// reference computes NaN for the latter).
Variance variance_from_name(const std::string& name);

// q(x_{t'} | x_t, x0) = N(from_x0 x0 + from_x x_t, variance), Ho et al. eq. 6-7.
struct Posterior {
  double from_x0, from_x, variance, beta;
};
Posterior posterior(double alpha_bar, double alpha_bar_next);

}  // namespace tw
