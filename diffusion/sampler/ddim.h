// DDIM (Song, Meng & Ermon 2021, eq. 12 and 16).
//
//   x' = sqrt(abar') x0 + sqrt(1 - abar' - d^2) eps + d z,   d = eta sqrt((1 - abar') / (1 - abar) (1 - abar
//   / abar'))
//
// eta = 0 is deterministic; eta = 1 is DDPM with the small variance, if nothing is clipped: eps is the
// network's own unless `use_clipped_output`, even where x0 has been clipped (diffusers; guided-diffusion
// always recomputes it).
#pragma once

#include <string>
#include <vector>

#include "diffusion/sampler/loop.h"
#include "diffusion/schedule.h"

namespace tw {

// Which timestep a step leads to.
enum class DdimPrevious {
  stride,  // t - floor(T / N), as diffusers; with `linspace` (and some `trailing`) lists not the next entry
  list,    // the next entry of the list
};

struct DdimParams {
  std::vector<int64_t> timesteps{};  // descending (diffusion/timesteps.h)
  Prediction prediction = Prediction::epsilon;
  double eta = 0;
  bool set_alpha_to_one = true;  // abar' = 1 past the end of the list, else alpha_bar[0]
  bool use_clipped_output = false;
  DdimPrevious previous = DdimPrevious::stride;
  ImageRange range{};
};

// Noise is drawn in every step if eta > 0. Throws unless the timesteps descend and 0 <= eta leaves the root
// real.
SamplerTable ddim_table(const Schedule& schedule, const DdimParams& params);

const char* name_of(DdimPrevious previous);
DdimPrevious ddim_previous_from_name(const std::string& name);

}  // namespace tw
