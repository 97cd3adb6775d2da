#include "diffusion/sampler/ddpm.h"

#include <algorithm>
#include <cmath>

#include "diffusion/timesteps.h"
#include "tensor/error.h"

namespace tw {

Posterior posterior(double abar, double abar_next) {
  const double beta = 1 - abar / abar_next;
  return {.from_x0 = std::sqrt(abar_next) * beta / (1 - abar),
          .from_x = std::sqrt(abar / abar_next) * (1 - abar_next) / (1 - abar),
          .variance = (1 - abar_next) / (1 - abar) * beta,
          .beta = beta};
}

SamplerTable ddpm_table(const Schedule& schedule, const DdpmParams& params) {
  SamplerTable table{.rows = {}, .range = params.range};
  if (params.variance == Variance::learned) table.learned = LearnedVariance::direct;
  if (params.variance == Variance::learned_range) table.learned = LearnedVariance::range;
  check_descending("ddpm", params.timesteps);
  for (size_t i = 0; i < params.timesteps.size(); ++i) {
    const int64_t t = params.timesteps[i],
                  next = i + 1 < params.timesteps.size() ? params.timesteps[i + 1] : -1;
    const double abar = schedule.alpha_bar(t);
    const Posterior q = posterior(abar, schedule.alpha_bar(next));
    const double V = std::max(q.variance, 1e-20);
    const auto x0 = x0_of(params.prediction, abar);

    SamplerRow row{.timestep = t, .update = {}, .draws_noise = t > 0};
    row.update.x0_from_x = x0.from_x;
    row.update.x0_from_output = x0.from_output;
    if (params.range.clip) row.update.clip = params.range.limit;
    row.update.next_from_x0 = q.from_x0;
    row.update.next_from_x = q.from_x;
    row.update.next_from_noise = !row.draws_noise                           ? 0
                                 : params.variance == Variance::fixed_small ? std::sqrt(V)
                                 : params.variance == Variance::fixed_large ? std::sqrt(q.beta)
                                                                            : 1;
    row.log_small = std::log(V);
    row.log_large = std::log(q.beta);
    table.rows.push_back(row);
  }
  return table;
}

const char* name_of(Variance variance) {
  switch (variance) {
    case Variance::fixed_small:
      return "fixed_small";
    case Variance::fixed_large:
      return "fixed_large";
    case Variance::learned:
      return "learned";
    case Variance::learned_range:
      break;
  }
  return "learned_range";
}

Variance variance_from_name(const std::string& name) {
  if (name == "fixed_small_log") return Variance::fixed_small;
  if (name == "fixed_large_log") return Variance::fixed_large;
  for (Variance v :
       {Variance::fixed_small, Variance::fixed_large, Variance::learned, Variance::learned_range})
    if (name == name_of(v)) return v;
  fail("ddpm", "expected variance fixed_small, fixed_large, learned or learned_range, found '", name, "'");
}

}  // namespace tw
