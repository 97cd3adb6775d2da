#include "apps/cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

namespace tw {

namespace {
std::atomic<bool> flag{false};  // lock-free, so a signal handler may touch it

void on_signal(int) {
  if (flag.exchange(true)) _exit(130);
}
}  // namespace

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return flag.load(); }

}  // namespace tw
