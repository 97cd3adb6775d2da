#include <benchmark/benchmark.h>

#include "kernels/op/softmax.h"
#include "tensor/tensor.h"

namespace {

using tw::Tensor;

void softmax_forward(benchmark::State& state) {
  const Tensor x = Tensor::full({state.range(0), state.range(1)}, 0.5), y = x.clone();
  for (auto _ : state) tw::kernels::softmax_forward(x.view(), y.view());
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(2 * x.nbytes()));
}
BENCHMARK(softmax_forward)->Args({256, 256})->Args({1024, 1024})->Args({4096, 10})->UseRealTime();

void softmax_backward(benchmark::State& state) {
  const Tensor y = Tensor::full({state.range(0), state.range(1)}, 0.01), dy = y.clone(), dx = y.clone();
  for (auto _ : state) tw::kernels::softmax_backward(y.view(), dy.view(), dx.view());
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(3 * y.nbytes()));
}
BENCHMARK(softmax_backward)->Args({256, 256})->Args({1024, 1024})->UseRealTime();

}  // namespace
