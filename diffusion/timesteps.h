// Which of the T training timesteps a sampler of N steps visits, for DDPM and DDIM.
//
//   leading   i floor(T/N) + offset                never reaches T - 1
//   linspace  round(linspace(0, T - 1, N))         both ends
//   trailing  round(T - i T/N) - 1                 starts at T - 1
//
// Rounding is half to even. `trailing` gives exactly N entries; the floating-point range of the reference
// gives N + 1, the last of them -1, for 62 of the N up to 1000.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tw {

enum class Spacing { leading, linspace, trailing };

// `count` timesteps in descending order, each in [0, steps). `offset` is for `leading` only (diffusers'
// steps_offset). Throws unless 1 <= count <= steps and the offset leaves them in range.
std::vector<int64_t> sampling_timesteps(Spacing spacing, int64_t count, int64_t steps, int64_t offset = 0);

// Throws, naming `op`, unless there is at least one timestep and each is below the one before it.
void check_descending(const char* op, const std::vector<int64_t>& timesteps);

const char* name_of(Spacing spacing);
Spacing spacing_from_name(const std::string& name);  // throws listing them

}  // namespace tw
