#include "bench/kernels/peak.h"

#include <time.h>

#include <algorithm>
#include <array>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/thread_pool.h"

namespace tw::bench {
namespace {

constexpr int chains = 12;  // enough independent sums to hide the latency of two units
constexpr int steps = 200000;

typedef float Four __attribute__((vector_size(16)));
typedef float Eight __attribute__((vector_size(32)));
typedef float Sixteen __attribute__((vector_size(64)));

template <class V>
[[gnu::always_inline]] inline double chain(float seed) {
  V sums[chains];
  const V x = seed - V{}, y = 1e-7f - V{};
#pragma GCC unroll 12
  for (int i = 0; i < chains; ++i) sums[i] = x + static_cast<float>(i);
  for (int step = 0; step < steps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sums[i] = sums[i] * x + y;
    asm volatile("" ::: "memory");
  }
  float total = 0;
#pragma GCC unroll 12
  for (int i = 0; i < chains; ++i) total += sums[i][0];
  return static_cast<double>(total);
}

double run_portable(float seed) { return chain<Four>(seed); }
#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] double run_avx2(float seed) { return chain<Eight>(seed); }
[[gnu::target("avx512f,fma")]] double run_avx512(float seed) { return chain<Sixteen>(seed); }
#endif

double now(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

clockid_t clock_of_run() { return kernels::thread_count() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC; }

}  // namespace

Stopwatch::Stopwatch() : begin_(now(clock_of_run())) {}
double Stopwatch::seconds() const { return now(clock_of_run()) - begin_; }

double peak_flops() {
  double (*run)(float) = run_portable;
  int lanes = 4;
#if defined(__x86_64__)
  if (kernels::active_isa() == kernels::Isa::avx2) run = run_avx2, lanes = 8;
  if (kernels::active_isa() >= kernels::Isa::avx512) run = run_avx512, lanes = 16;
#endif
  std::array<double, 21> rates;
  volatile double sink = 0;
  for (double& rate : rates) {
    const double begin = now(CLOCK_THREAD_CPUTIME_ID);
    sink = sink + run(0.999f);
    rate = 2.0 * chains * lanes * steps / (now(CLOCK_THREAD_CPUTIME_ID) - begin);
  }
  std::nth_element(rates.begin(), rates.begin() + rates.size() / 2, rates.end());
  return rates[rates.size() / 2];
}

}  // namespace tw::bench
