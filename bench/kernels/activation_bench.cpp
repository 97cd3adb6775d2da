#include <benchmark/benchmark.h>

#include "kernels/op/activation.h"
#include "tensor/tensor.h"

namespace {

void silu_forward(benchmark::State& state) {
  const tw::Tensor x = tw::Tensor::full({state.range(0)}, 0.5), y = tw::Tensor::empty(x.shape());
  for (auto _ : state)
    tw::kernels::activation_forward({.kind = tw::kernels::Activation::silu}, x.view(), y.view());
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(2 * x.nbytes()));
}
BENCHMARK(silu_forward)->Arg(128 * 32 * 32)->UseRealTime();

}  // namespace
