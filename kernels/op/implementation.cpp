#include "kernels/op/implementation.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace tw::kernels {

bool verbose() {
  static const bool on = [] {
    const char* text = std::getenv("TW_VERBOSE");
    return text && *text && std::strcmp(text, "0") != 0;
  }();
  return on;
}

void report_declined(const char* op, const char* name, const char* reason) {
  std::fprintf(stderr, "%s: %s declined: %s\n", op, name, reason);
}

}  // namespace tw::kernels
