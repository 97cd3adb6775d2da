// A profile as text and as a Chrome trace.
#pragma once

#include <optional>
#include <string>

#include "kernels/cpu/machine_rates.h"
#include "kernels/op/profile.h"

namespace tw {

// What the ops are judged against, by where they ran.
struct ProfileRates {
  kernels::MachineRates cpu;
  std::optional<kernels::MachineRates> cuda;

  const kernels::MachineRates& of(Device device) const {
    return device == Device::cuda && cuda ? *cuda : cpu;
  }
};
// Those of the processor, and of the device if an op ran there.
ProfileRates measure_rates(const kernels::Profile& profile);

// One line an op, the longest first: calls, milliseconds in all, share of `seconds` (the wall time of the
// profile), microseconds a call, GFLOP/s, GB/s, and the roofline's time as per cent of the time taken (above
// 100 where an algorithm needs fewer multiplications than the formula, or the data was still in a cache).
// Then what passed between ops, and the same columns for each shape.
std::string profile_table(const kernels::Profile& profile, double seconds, const ProfileRates& rates);

// JSON for chrome://tracing and Perfetto: one complete event ("ph": "X") a call, with its rates as arguments.
std::string chrome_trace(const kernels::Profile& profile, const ProfileRates& rates);

}  // namespace tw
