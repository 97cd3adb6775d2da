#include "diffusion/timesteps.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace tw {

std::vector<int64_t> sampling_timesteps(Spacing spacing, int64_t count, int64_t steps, int64_t offset) {
  check(count >= 1 && count <= steps, "sampling_timesteps", "a model of ", steps,
        " timesteps can be sampled in 1 to ", steps, " steps, found ", count);
  const double T = static_cast<double>(steps), N = static_cast<double>(count);
  std::vector<int64_t> descending;
  for (int64_t i = count - 1; i >= 0; --i) {
    const double k = static_cast<double>(i);
    int64_t t = 0;
    switch (spacing) {
      case Spacing::leading:
        t = i * (steps / count) + offset;
        break;
      case Spacing::linspace:
        t = count == 1 ? 0 : static_cast<int64_t>(std::nearbyint(k * ((T - 1) / (N - 1))));
        break;
      case Spacing::trailing:
        t = static_cast<int64_t>(std::nearbyint(T - (N - 1 - k) * (T / N))) - 1;
        break;
    }
    check(t >= 0 && t < steps, "sampling_timesteps", "offset ", offset, " leads to timestep ", t,
          " outside [0, ", steps, ")");
    descending.push_back(t);
  }
  return descending;
}

void check_descending(const char* op, const std::vector<int64_t>& timesteps) {
  check(!timesteps.empty(), op, "needs at least one timestep");
  for (size_t i = 1; i < timesteps.size(); ++i)
    check(timesteps[i] < timesteps[i - 1], op, "timesteps must descend, found ", timesteps[i - 1], " before ",
          timesteps[i]);
}

const char* name_of(Spacing spacing) {
  switch (spacing) {
    case Spacing::leading:
      return "leading";
    case Spacing::linspace:
      return "linspace";
    case Spacing::trailing:
      break;
  }
  return "trailing";
}

Spacing spacing_from_name(const std::string& name) {
  for (Spacing spacing : {Spacing::leading, Spacing::linspace, Spacing::trailing})
    if (name == name_of(spacing)) return spacing;
  fail("sampling_timesteps", "expected spacing leading, linspace or trailing, found '", name, "'");
}

}  // namespace tw
