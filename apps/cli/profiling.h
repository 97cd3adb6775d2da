// Profile mode of the binaries: TW_PROFILE=1 prints a table of ops on stderr at the end, --profile FILE also
// writes a Chrome trace. docs/handbook/profiling.md
#pragma once

#include <memory>
#include <string>

#include "apps/cli/options.h"
#include "kernels/op/profile.h"

namespace tw {

class Profiling {
 public:
  void declare(Options& options);
  void begin();   // after parsing; does nothing unless asked for
  void warm();    // the warm-up is over: forgets what was recorded so far
  void finish();  // measures the machine's rates, prints the table, writes the trace

 private:
  std::string trace_;
  std::unique_ptr<kernels::Profile> profile_;
  std::unique_ptr<kernels::ProfileScope> scope_;
};

}  // namespace tw
