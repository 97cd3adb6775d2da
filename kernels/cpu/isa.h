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
#pragma once

#include <array>
#include <vector>

namespace tw::kernels {

enum class Isa { portable, avx2, avx512, avx512_bf16 };

const char* isa_name(Isa isa);
std::vector<Isa> supported_isas();  // compiled in and runnable on this processor, weakest first

// The instruction set in use: TW_ISA, else the strongest supported. TW_ISA naming one that cannot run here is
// an error.
Isa active_isa();
void set_active_isa(Isa isa);  // for tests and benchmarks; throws if unsupported

template <class Kernels, Isa isa>
const Kernels& kernels_of();

template <class Kernels>
const Kernels& kernels_for(Isa isa) {
  switch (isa) {
#if defined(TW_HAS_AVX2)
    case Isa::avx2:
      return kernels_of<Kernels, Isa::avx2>();
    case Isa::avx512:
      return kernels_of<Kernels, Isa::avx512>();
    case Isa::avx512_bf16:
      return kernels_of<Kernels, Isa::avx512_bf16>();
#endif
    default:
      return kernels_of<Kernels, Isa::portable>();
  }
}

template <class Kernels>
const Kernels& active() {
  return kernels_for<Kernels>(active_isa());
}

}  // namespace tw::kernels
