#include "bench/kernels/peak.h"

#include <time.h>

#include "kernels/cpu/thread_pool.h"

namespace tw::bench {
namespace {

double now(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

clockid_t clock_of_run() { return kernels::thread_count() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC; }

}  // namespace

Stopwatch::Stopwatch() : begin_(now(clock_of_run())) {}
double Stopwatch::seconds() const { return now(clock_of_run()) - begin_; }

}  // namespace tw::bench
