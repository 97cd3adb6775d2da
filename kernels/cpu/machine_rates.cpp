#include "kernels/cpu/machine_rates.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <numeric>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/thread_pool.h"

namespace tw::kernels {
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

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

template <size_t n>
double median(std::array<double, n>& values) {
  std::nth_element(values.begin(), values.begin() + n / 2, values.end());
  return values[n / 2];
}

// Bytes a second, read and written, when every thread copies its own half of `bytes` to the other half: the
// best of a few runs, each long enough for the clock.
double copy_rate(double bytes, int threads, char* memory, size_t stride) {
  const size_t half = static_cast<size_t>(bytes / 2);
  const auto repeats = static_cast<int>(std::max(1.0, 16e6 / bytes));
  double best = 0;
  for (int run = 0; run < 6; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    parallel_for(threads, 1, [&](int64_t first, int64_t last) {
      for (int64_t thread = first; thread < last; ++thread)
        for (int i = 0; i < repeats; ++i) {
          char* mine = memory + static_cast<size_t>(thread) * stride;
          std::memcpy(mine + half, mine, half);
          asm volatile("" ::: "memory");
        }
    });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, 2.0 * static_cast<double>(half) * repeats * threads / seconds);
  }
  return best;
}

}  // namespace

double peak_flops() {
  double (*run)(float) = run_portable;
  int lanes = 4;
#if defined(__x86_64__)
  if (active_isa() == Isa::avx2) run = run_avx2, lanes = 8;
  if (active_isa() >= Isa::avx512) run = run_avx512, lanes = 16;
#endif
  std::array<double, 21> rates;
  volatile double sink = 0;
  for (double& rate : rates) {
    const double begin = cpu_seconds();
    sink = sink + run(0.999f);
    rate = 2.0 * chains * lanes * steps / (cpu_seconds() - begin);
  }
  return median(rates);
}

double MachineRates::bandwidth(double bytes) const {
  for (const Level& level : levels)
    if (bytes <= level.bytes_per_thread * std::max(threads, 1)) return level.bytes_per_second;
  return levels.empty() ? 0 : levels.back().bytes_per_second;
}

double MachineRates::least_seconds(double work, double bytes, DType dtype) const {
  const double rate = bandwidth(bytes);
  const bool is_short = dtype == DType::bf16 || dtype == DType::f16;
  const double peak = is_short && flops_16bit > 0 ? flops_16bit : flops;
  return std::max(peak > 0 ? work / peak : 0, rate > 0 ? bytes / rate : 0);
}

MachineRates measure_machine_rates() {
  MachineRates rates;
  rates.threads = thread_count();
  // All at once, each by its own CPU time: sharing a core shows, other programs do not.
  std::vector<double> each(static_cast<size_t>(rates.threads), 0.0);
  parallel_for(rates.threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) each[static_cast<size_t>(i)] = peak_flops();
  });
  rates.flops = std::accumulate(each.begin(), each.end(), 0.0);

  constexpr size_t stride = size_t{64} << 20;
  const size_t total = stride * static_cast<size_t>(rates.threads);
  const std::unique_ptr<char[]> memory(new char[total]);
  std::memset(memory.get(), 1, total);
  for (const double kibibytes : {32., 512., 4096., 65536.})
    rates.levels.push_back(
        {kibibytes * 1024, copy_rate(kibibytes * 1024, rates.threads, memory.get(), stride)});
  return rates;
}

}  // namespace tw::kernels
