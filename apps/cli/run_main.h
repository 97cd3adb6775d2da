// The frame of every binary's main: errors become one line on stderr and an exit code.
#pragma once

#include <functional>

namespace tw {

// What a binary returns. A script may rely on these.
enum ExitCode : int {
  exit_ok = 0,
  exit_internal = 1,       // an error of the program itself
  exit_usage = 2,          // options or their combination
  exit_data = 3,           // files, formats, or not enough memory
  exit_numeric = 4,        // non-finite values
  exit_interrupted = 130,  // Ctrl-C, with a valid checkpoint left behind where there is one
};

// Calls body() and returns its exit code; maps tw::Error by its kind, and other exceptions, to the codes
// above.
int run_main(const char* program, const std::function<int()>& body);

}  // namespace tw
