#include "diffusion/sampler/ddim.h"

#include <algorithm>
#include <cmath>

#include "diffusion/timesteps.h"
#include "tensor/error.h"

namespace tw {

SamplerTable ddim_table(const Schedule& schedule, const DdimParams& params) {
  SamplerTable table{.rows = {}, .range = params.range};
  check_descending("ddim", params.timesteps);
  check(params.eta >= 0, "ddim", "eta must not be negative, found ", params.eta);
  const int64_t stride = schedule.steps() / static_cast<int64_t>(params.timesteps.size());
  for (size_t i = 0; i < params.timesteps.size(); ++i) {
    const int64_t t = params.timesteps[i],
                  listed = i + 1 < params.timesteps.size() ? params.timesteps[i + 1] : -1;
    const int64_t next = params.previous == DdimPrevious::list ? listed : t - stride;
    const double abar = schedule.alpha_bar(t);
    const double abar_next = next >= 0                 ? schedule.alpha_bar(next)
                             : params.set_alpha_to_one ? 1.0
                                                       : schedule.alpha_bar(0);
    const double d = params.eta * std::sqrt((1 - abar_next) / (1 - abar) * (1 - abar / abar_next));
    // Rounding may leave -1e-17 where abar' = 1; anything larger means that eta asks for more noise than
    // there is.
    const double remaining = 1 - abar_next - d * d;
    check(remaining > -1e-9, "ddim", "eta ", params.eta, " adds more noise than step ", t, " -> ", next,
          " leaves");
    const double k = std::sqrt(std::max(remaining, 0.0));
    const auto x0 = x0_of(params.prediction, abar);
    const auto eps = epsilon_of(params.prediction, abar);

    SamplerRow row{.timestep = t, .update = {}, .draws_noise = params.eta > 0};
    row.update.x0_from_x = x0.from_x;
    row.update.x0_from_output = x0.from_output;
    if (params.range.clip) row.update.clip = params.range.limit;
    if (params.use_clipped_output) {  // eps = (x - a x0) / s
      const double a = std::sqrt(abar), s = std::sqrt(1 - abar);
      row.update.next_from_x0 = std::sqrt(abar_next) - k * a / s;
      row.update.next_from_x = k / s;
    } else {
      row.update.next_from_x0 = std::sqrt(abar_next);
      row.update.next_from_x = k * eps.from_x;
      row.update.next_from_output = k * eps.from_output;
    }
    row.update.next_from_noise = d;
    table.rows.push_back(row);
  }
  return table;
}

const char* name_of(DdimPrevious previous) { return previous == DdimPrevious::list ? "list" : "stride"; }

DdimPrevious ddim_previous_from_name(const std::string& name) {
  check(name == "list" || name == "stride", "ddim", "expected previous timestep stride or list, found '",
        name, "'");
  return name == "list" ? DdimPrevious::list : DdimPrevious::stride;
}

}  // namespace tw
