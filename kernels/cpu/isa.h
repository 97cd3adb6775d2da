// Run-time choice of the instruction set.
//
// A file cpu/isa/<op>.cpp is compiled once per instruction set, with TW_ISA naming it, and ends with
//   template <> const GemmKernels& kernels_of<GemmKernels, Isa::TW_ISA>() { static const GemmKernels k{...};
//   return k; }
// where GemmKernels (cpu/isa/<op>.h) is a struct of function pointers. Everyone else calls
// active<GemmKernels>().
//
// What such a file defines besides must sit in an anonymous namespace or be marked always_inline: an inline
// function of external linkage compiled for AVX-512 could otherwise be the copy that the linker keeps for
// all.
//
// avx512_amx is avx512_bf16 and the tile registers. Only what multiplies tiles is compiled for it (see
// kernels/CMakeLists.txt); every other table is avx512_bf16's.
#pragma once

#include <array>
#include <vector>

#include "tensor/error.h"

namespace tw::kernels {

enum class Isa { portable, avx2, avx512, avx512_bf16, avx512_amx };

const char* isa_name(Isa isa);
std::vector<Isa> supported_isas();  // compiled in and runnable on this processor, weakest first

// The instruction set in use: TW_ISA, else the strongest supported. TW_ISA naming one that cannot run here is
// an error.
Isa active_isa();
void set_active_isa(Isa isa);  // for tests and benchmarks; throws if unsupported

// What multiplies bf16 by bf16. widen: they become f32 first and bf16 is a storage format. A function of the
// instruction set in use and of the processor's identity, as VDPBF16PS has twice the rate of an f32 FMA on
// one and half of it on another.
enum class Bf16Dot { widen, vdpbf16ps, tdpbf16ps };
const char* bf16_dot_name(Bf16Dot dot);
Bf16Dot bf16_dot();
// For tests: vdpbf16ps wherever it exists, however slow.
void prefer_vdpbf16ps(bool always);

template <class Kernels, Isa isa>
const Kernels& kernels_of();

// Tables that exist for the two bf16 instruction sets only, and with tiles for avx512_amx.
template <class Kernels>
inline constexpr bool for_bf16_dot = false;

template <class Kernels>
const Kernels& kernels_for(Isa isa) {
  if constexpr (for_bf16_dot<Kernels>) {
#if defined(TW_HAS_AVX512_AMX)
    if (isa == Isa::avx512_amx) return kernels_of<Kernels, Isa::avx512_amx>();
    if (isa == Isa::avx512_bf16) return kernels_of<Kernels, Isa::avx512_bf16>();
#endif
    fail("bf16", isa_name(isa), " has no dot product of bf16");
  } else {
    switch (isa) {
#if defined(TW_HAS_AVX2)
      case Isa::avx2:
        return kernels_of<Kernels, Isa::avx2>();
      case Isa::avx512:
        return kernels_of<Kernels, Isa::avx512>();
      case Isa::avx512_bf16:
      case Isa::avx512_amx:
        return kernels_of<Kernels, Isa::avx512_bf16>();
#endif
      default:
        return kernels_of<Kernels, Isa::portable>();
    }
  }
}

template <class Kernels>
const Kernels& active() {
  return kernels_for<Kernels>(active_isa());
}

}  // namespace tw::kernels
