#include "kernels/cpu/isa.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string>

#include "tensor/error.h"

namespace tw::kernels {
namespace {

bool runs_here(Isa isa) {
#if defined(TW_HAS_AVX2)
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  switch (isa) {
    case Isa::portable:
      return true;
    case Isa::avx2:
      return avx2;
    case Isa::avx512:
      return avx512;
    case Isa::avx512_bf16:
      return avx512 && __builtin_cpu_supports("avx512bf16");
  }
#endif
  return isa == Isa::portable;
}

Isa initial_isa() {
  const std::vector<Isa> supported = supported_isas();
  const char* text = std::getenv("TW_ISA");
  if (!text) return supported.back();
  std::string names;
  for (Isa isa : supported) {
    if (std::string(text) == isa_name(isa)) return isa;
    names += std::string(names.empty() ? "" : ", ") + isa_name(isa);
  }
  fail("TW_ISA", "'", text, "' is not one of those that run here: ", names);
}

std::atomic<Isa>& current() {
  static std::atomic<Isa> isa{initial_isa()};
  return isa;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return "portable";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_bf16:
      return "avx512_bf16";
  }
  return "?";
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> result;
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16})
    if (runs_here(isa)) result.push_back(isa);
  return result;
}

Isa active_isa() { return current().load(std::memory_order_relaxed); }

void set_active_isa(Isa isa) {
  check(runs_here(isa), "set_active_isa", isa_name(isa), " does not run on this processor");
  current() = isa;
}

}  // namespace tw::kernels
