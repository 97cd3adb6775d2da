#include <benchmark/benchmark.h>

#include "kernels/op/activation.h"
#include "tensor/tensor.h"

namespace {

constexpr const char* names[] = {"silu",      "relu", "leaky_relu", "gelu",
                                 "gelu_tanh", "tanh", "sigmoid",    "softplus"};

void activation_forward(benchmark::State& state) {
  const tw::Tensor x = tw::Tensor::full({state.range(1)}, 0.5), y = tw::Tensor::empty(x.shape());
  const auto kind = static_cast<tw::kernels::Activation>(state.range(0));
  for (auto _ : state) tw::kernels::activation_forward({.kind = kind}, x.view(), y.view());
  state.SetLabel(names[state.range(0)]);
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(2 * x.nbytes()));
}
BENCHMARK(activation_forward)
    ->ArgsProduct({benchmark::CreateDenseRange(0, 7, 1), {128 * 32 * 32}})
    ->UseRealTime();

void activation_backward(benchmark::State& state) {
  const tw::Tensor x = tw::Tensor::full({state.range(1)}, 0.5), y = tw::Tensor::empty(x.shape());
  const auto kind = static_cast<tw::kernels::Activation>(state.range(0));
  for (auto _ : state) tw::kernels::activation_backward({.kind = kind}, x.view(), x.view(), y.view());
  state.SetLabel(names[state.range(0)]);
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(3 * x.nbytes()));
}
BENCHMARK(activation_backward)->ArgsProduct({{0, 3}, {128 * 32 * 32}})->UseRealTime();

}  // namespace
