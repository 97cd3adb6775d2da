#include "apps/cli/profiling.h"

#include <cstdlib>
#include <cstring>
#include <iostream>

#include "apps/report/profile_report.h"
#include "tensor/allocation_label.h"
#include "tensor/io/atomic_file.h"

namespace tw {

void Profiling::declare(Options& options) {
  options.add("--profile", trace_, "print the time of each op, and write a Chrome trace", "FILE.json");
}

void Profiling::begin() {
  const char* text = std::getenv("TW_PROFILE");
  if (trace_.empty() && (!text || !*text || std::strcmp(text, "0") == 0)) return;
  profile_ = std::make_unique<kernels::Profile>(current_allocation_name);
  scope_ = std::make_unique<kernels::ProfileScope>(*profile_);
}

void Profiling::warm() {
  if (profile_) profile_->restart();
}

void Profiling::finish() {
  if (!profile_) return;
  scope_.reset();
  const double seconds = profile_->seconds();
  const ProfileRates rates = measure_rates(*profile_);
  std::cerr << profile_table(*profile_, seconds, rates) << std::flush;
  if (!trace_.empty()) write_file_atomically(trace_, chrome_trace(*profile_, rates));
  profile_.reset();
}

}  // namespace tw
