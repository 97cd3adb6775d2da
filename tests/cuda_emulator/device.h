// Included before everything else in the sources of kernels/cuda/ when they are compiled as host code: what
// nvcc knows by itself. A block's threads run one after another on one thread of the host (block.h), so
// shared memory is a static array and __syncthreads() changes to another of them.
#pragma once

#include <cuda_runtime.h>
#include <math.h>

#include "tests/cuda_emulator/block.h"

#undef __shared__
#define __shared__ static
#undef __launch_bounds__
#define __launch_bounds__(...)

#define threadIdx (::emulator::current().thread)
#define blockIdx (::emulator::current().block)
#define blockDim (::emulator::current().block_size)
#define gridDim (::emulator::current().grid_size)
#define warpSize 32

inline void __syncthreads() { emulator::wait(emulator::Barrier::block); }
inline void __syncwarp(unsigned = ~0u) { emulator::wait(emulator::Barrier::warp); }

template <class V>
V __shfl_xor_sync(unsigned, V value, int lanes) {
  return emulator::exchange(value, [&](int lane) { return lane ^ lanes; });
}
template <class V>
V __shfl_down_sync(unsigned, V value, int lanes) {
  return emulator::exchange(value, [&](int lane) { return lane + lanes < 32 ? lane + lanes : lane; });
}
template <class V>
V __shfl_sync(unsigned, V value, int from) {
  return emulator::exchange(value, [&](int) { return from % 32; });
}

template <class... P>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, void (*kernel)(P...)) {
  return cudaFuncGetAttributes(attributes, reinterpret_cast<const void*>(kernel));
}
