// Sum and maximum over the threads of a block, in an order that depends on the block's size alone.
#pragma once

namespace tw::cuda {

template <class V>
struct Plus {
  __device__ V operator()(V a, V b) const { return a + b; }
};
template <class V>
struct Larger {
  __device__ V operator()(V a, V b) const { return a < b ? b : a; }
};

// Every thread gets the result; blockDim.x is a multiple of 32, at most 1024.
template <class Op, class V>
__device__ V over_block(V value, V neutral) {
  __shared__ V of_warp[32];
  for (int lane = 16; lane > 0; lane /= 2) value = Op()(value, __shfl_xor_sync(~0u, value, lane));
  __syncthreads();  // of_warp may still be read from the call before
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  value = threadIdx.x % 32 < blockDim.x / 32 ? of_warp[threadIdx.x % 32] : neutral;
  for (int lane = 16; lane > 0; lane /= 2) value = Op()(value, __shfl_xor_sync(~0u, value, lane));
  return value;
}

}  // namespace tw::cuda
