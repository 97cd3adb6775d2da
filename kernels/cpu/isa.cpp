#include "kernels/cpu/isa.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "kernels/op/implementation.h"
#include "tensor/error.h"

#if defined(TW_HAS_AVX512_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tw::kernels {
namespace {

#if defined(TW_HAS_AVX512_AMX)
// The tile registers are 8 KiB that a process has to ask the kernel for, once and for all of its threads.
enum class Tiles { absent, refused, granted };
Tiles ask_for_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 24 & 1) || !(d >> 22 & 1)) return Tiles::absent;
  constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0 ? Tiles::granted : Tiles::refused;
}
Tiles tiles() {
  static const Tiles answer = ask_for_tiles();
  return answer;
}

// AMD since Zen 4 (family 0x19): twice the rate of an f32 FMA. Intel: half of it on Emerald Rapids.
bool fast_vdpbf16ps() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(0, &a, &b, &c, &d)) return false;
  if (b != signature_AMD_ebx || c != signature_AMD_ecx || d != signature_AMD_edx) return false;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
  return (a >> 8 & 0xf) + (a >> 20 & 0xff) >= 0x19;
}
#endif

std::atomic<bool> always_vdpbf16ps{false};

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
    case Isa::avx512_amx:
      return avx512 && __builtin_cpu_supports("avx512bf16") && tiles() == Tiles::granted;
  }
#endif
  return isa == Isa::portable;
}

Bf16Dot dot_of(Isa isa) {
#if defined(TW_HAS_AVX512_AMX)
  static const bool fast = fast_vdpbf16ps();
  if (isa == Isa::avx512_amx) return Bf16Dot::tdpbf16ps;
  if (isa == Isa::avx512_bf16 && (fast || always_vdpbf16ps)) return Bf16Dot::vdpbf16ps;
#endif
  (void)isa;
  return Bf16Dot::widen;
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
#if defined(TW_HAS_AVX512_AMX)
  if (std::string(text) == isa_name(Isa::avx512_amx) && tiles() == Tiles::refused)
    fail("TW_ISA", "the kernel refuses this process the tile registers of '", text, "'; ", names,
         " run here");
#endif
  fail("TW_ISA", "'", text, "' is not one of those that run here: ", names);
}

Isa announced(Isa isa) {
  if (verbose())
    std::fprintf(stderr, "instruction set: %s; products of bf16: %s\n", isa_name(isa),
                 bf16_dot_name(dot_of(isa)));
  return isa;
}

std::atomic<Isa>& current() {
  static std::atomic<Isa> isa{announced(initial_isa())};
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
    case Isa::avx512_amx:
      return "avx512_amx";
  }
  return "?";
}

const char* bf16_dot_name(Bf16Dot dot) {
  return dot == Bf16Dot::tdpbf16ps ? "TDPBF16PS" : dot == Bf16Dot::vdpbf16ps ? "VDPBF16PS" : "widened to f32";
}

Bf16Dot bf16_dot() { return dot_of(active_isa()); }

void prefer_vdpbf16ps(bool always) { always_vdpbf16ps = always; }

std::vector<Isa> supported_isas() {
  std::vector<Isa> result;
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::avx512_amx})
    if (runs_here(isa)) result.push_back(isa);
  return result;
}

Isa active_isa() { return current().load(std::memory_order_relaxed); }

void set_active_isa(Isa isa) {
  check(runs_here(isa), "set_active_isa", isa_name(isa), " does not run on this processor");
  current() = isa;
}

}  // namespace tw::kernels
