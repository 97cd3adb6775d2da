// Single ops of the CUDA backend, SiLU and copies beside the CPU's. Skipped where there is no device.
#include <benchmark/benchmark.h>

#include "kernels/op/activation.h"
#include "kernels/op/attention.h"
#include "kernels/op/fft2d.h"
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

// Arguments: n, tokens, heads, channels a head. On both sides of what decides between one launch and three
// (kernels/cuda/attention_fused.h): 64 channels in f32, 64 keys in 16 bits.
void attention(benchmark::State& state, tw::DType dtype) {
  if (skipped(state, Device::cuda)) return;
  constexpr int calls = 20;
  const int64_t n = state.range(0), t = state.range(1), heads = state.range(2), c = heads * state.range(3);
  const Tensor qkv = Tensor::full({n, t, 3 * c}, 0.1, dtype, Device::cuda),
               o = Tensor::empty({n, t, c}, dtype, Device::cuda),
               log_sum_exp = Tensor::empty({n, heads, t}, tw::DType::f32, Device::cuda);
  const auto part = [&](int64_t i) { return qkv.slice(2, i * c, (i + 1) * c).view(); };
  for (auto _ : state) {
    for (int i = 0; i < calls; ++i)
      tw::kernels::attention_forward({heads}, {part(0), part(1), part(2), {}}, o.view(), log_sum_exp.view(),
                                     {});
    wait_for(o);
  }
  state.counters["flops"] = benchmark::Counter(static_cast<double>(state.iterations()) * calls *
                                                   tw::kernels::attention_forward_flops(o.shape(), o.shape()),
                                               benchmark::Counter::kIsRate);
}
BENCHMARK_CAPTURE(attention, f32, tw::DType::f32)
    ->ArgsProduct({{1, 16}, {64, 256, 1024, 4096}, {4}, {64, 72}})
    ->UseRealTime();
BENCHMARK_CAPTURE(attention, bf16, tw::DType::bf16)
    ->ArgsProduct({{1, 16}, {64, 72, 256}, {4}, {64}})
    ->UseRealTime();

// Arguments: n, h and w, c.
void fft2d(benchmark::State& state) {
  if (skipped(state, Device::cuda)) return;
  constexpr int calls = 20;
  const tw::Shape image{state.range(0), state.range(1), state.range(1), state.range(2)};
  const Tensor x = Tensor::full({image[0], image[1], image[2], image[3], 2}, 0.5, tw::DType::f32,
                                Device::cuda),
               y = Tensor::empty(x.shape(), tw::DType::f32, Device::cuda);
  for (auto _ : state) {
    for (int i = 0; i < calls; ++i) tw::kernels::fft2d({}, x.view(), y.view(), {});
    wait_for(y);
  }
  state.SetBytesProcessed(state.iterations() * calls * static_cast<int64_t>(2 * x.nbytes()));
}
BENCHMARK(fft2d)->Args({1, 256, 1})->Args({1, 256, 3})->Args({16, 256, 3})->UseRealTime();

}  // namespace
