#include "kernels/cpu/exact.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace tw::kernels {
namespace {

std::atomic<bool>& current() {
  static std::atomic<bool> on{[] {
    const char* text = std::getenv("TW_EXACT");
    return text && *text && std::strcmp(text, "0") != 0;
  }()};
  return on;
}

}  // namespace

bool exact() { return current().load(std::memory_order_relaxed); }

void set_exact(bool on) { current() = on; }

}  // namespace tw::kernels
