// What the CUDA backend has so far, beside the CPU: SiLU, fill and copies. Skipped where there is no device.
#include <benchmark/benchmark.h>

#include "kernels/op/activation.h"
#include "tensor/cuda_library.h"
#include "tensor/transfer.h"

namespace {

using tw::Device;
using tw::Tensor;

// Kernels are queued: reading one byte waits for all of them.
void wait_for(const Tensor& tensor) {
  char byte = 0;
  if (tensor.device() == Device::cuda)
    tw::cuda_copy(&byte, Device::cpu, tensor.view().pointer, Device::cuda, 1);
  benchmark::DoNotOptimize(byte);
}

bool skipped(benchmark::State& state, Device device) {
  if (device == Device::cpu || tw::cuda_available()) return false;
  state.SkipWithError(tw::cuda_unavailable_reason().c_str());
  return true;
}

void silu(benchmark::State& state, Device device) {
  if (skipped(state, device)) return;
  constexpr int calls = 20;  // between two waits
  const Tensor x = Tensor::full({state.range(0)}, 0.5, tw::DType::f32, device),
               y = Tensor::empty(x.shape(), tw::DType::f32, device);
  for (auto _ : state) {
    for (int i = 0; i < calls; ++i) tw::kernels::activation_forward({}, x.view(), y.view());
    wait_for(y);
  }
  state.SetBytesProcessed(state.iterations() * calls * static_cast<int64_t>(2 * x.nbytes()));
}
BENCHMARK_CAPTURE(silu, cpu, Device::cpu)->Arg(1 << 17)->Arg(1 << 24)->UseRealTime();
BENCHMARK_CAPTURE(silu, cuda, Device::cuda)->Arg(1 << 17)->Arg(1 << 24)->UseRealTime();

void host_to_device(benchmark::State& state) {
  if (skipped(state, Device::cuda)) return;
  const Tensor host = Tensor::full({state.range(0)}, 1);
  for (auto _ : state) wait_for(tw::to_device(host, Device::cuda));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(host.nbytes()));
}
BENCHMARK(host_to_device)->Arg(1 << 24)->UseRealTime();

}  // namespace
