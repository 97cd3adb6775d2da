// That the emulated device notices what it is there to notice.
#include <gtest/gtest.h>

#include <vector>

#include "tests/cuda_emulator/device.h"

namespace {

constexpr unsigned n = 96;

__global__ void reverse(const int* x, int* y, bool with_barrier) {
  __shared__ int all[n];
  all[threadIdx.x] = x[blockIdx.x * n + threadIdx.x];
  if (with_barrier) __syncthreads();
  y[blockIdx.x * n + threadIdx.x] = all[n - 1 - threadIdx.x];
}

__global__ void sum_of_warp(const int* x, int* y) {
  int value = x[threadIdx.x];
  for (int lane = 16; lane > 0; lane /= 2) value += __shfl_xor_sync(~0u, value, lane);
  y[threadIdx.x] = value;
}

__global__ void half_of_a_warp_waits() {
  if (threadIdx.x % 32 < 16)
    __syncthreads();
  else
    __syncwarp();
}

struct Array {
  explicit Array(size_t count) : count(count) {
    cudaMalloc(reinterpret_cast<void**>(&pointer), count * sizeof(int));
  }
  ~Array() { cudaFree(pointer); }
  std::vector<int> values() const {
    std::vector<int> result(count);
    cudaMemcpy(result.data(), pointer, count * sizeof(int), cudaMemcpyDeviceToHost);
    return result;
  }
  void set(const std::vector<int>& values) {
    cudaMemcpy(pointer, values.data(), count * sizeof(int), cudaMemcpyHostToDevice);
  }
  size_t count;
  int* pointer = nullptr;
};

std::vector<int> counted(size_t count) {
  std::vector<int> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<int>(i) + 1;
  return values;
}

TEST(CudaEmulator, BlocksShareMemoryAndWait) {
  Array x(2 * n), y(2 * n);
  x.set(counted(2 * n));
  emulator::launch(2, n, nullptr, [&] { reverse(x.pointer, y.pointer, true); });
  const std::vector<int> found = y.values();
  for (unsigned block = 0; block < 2; ++block)
    for (unsigned i = 0; i < n; ++i) EXPECT_EQ(found[block * n + i], static_cast<int>(block * n + n - i));
  emulator::launch(2, n, nullptr, [&] { reverse(x.pointer, y.pointer, false); });
  EXPECT_NE(y.values(), found) << "a barrier that is missing was not noticed";
}

TEST(CudaEmulator, WarpsExchange) {
  Array x(n), y(n);
  x.set(counted(n));
  emulator::launch(1, n, nullptr, [&] { sum_of_warp(x.pointer, y.pointer); });
  for (unsigned i = 0; i < n; ++i)
    EXPECT_EQ(y.values()[i], static_cast<int>(32 * (i / 32 * 32) + 33 * 16)) << i;
}

TEST(CudaEmulator, CapturedWorkRunsWhenItsGraphIsLaunched) {
  Array x(n), y(n);
  cudaStream_t stream = nullptr;
  cudaStreamCreate(&stream);
  y.set(std::vector<int>(n, 0));
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  emulator::launch(1, n, stream, [to = y.pointer, from = x.pointer] { reverse(from, to, true); });
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  EXPECT_EQ(y.values(), std::vector<int>(n, 0));
  x.set(counted(n));
  cudaGraphLaunch(exec, stream);
  EXPECT_EQ(y.values()[0], static_cast<int>(n));
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);

  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  cudaStreamDestroy(stream);
}

TEST(CudaEmulatorDeathTest, DifferentBarriers) {
  EXPECT_DEATH(emulator::launch(1, 64, nullptr, [] { half_of_a_warp_waits(); }),
               "wait at different barriers");
}

TEST(CudaEmulatorDeathTest, WritingBehindABlock) {
  EXPECT_DEATH(
      {
        Array x(10);
        emulator::launch(1, 11, nullptr, [&] { x.pointer[threadIdx.x] = 1; });
        cudaFree(x.pointer);
      },
      "byte 40 of a block of 40 was written");
}

TEST(CudaEmulatorDeathTest, TheHostCannotTouchDeviceMemory) {
  EXPECT_DEATH(
      {
        Array x(10);
        x.pointer[0] = 1;
      },
      "");
}

}  // namespace
