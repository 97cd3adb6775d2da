// Adam + EMA: bytes are the 9 streams of a parameter (p, m, v, ema read and written, g read), 7 without ema.
#include <benchmark/benchmark.h>

#include "kernels/op/adam.h"
#include "kernels/op/square_sum.h"
#include "tensor/tensor.h"

namespace {

using tw::Tensor;

void adam(benchmark::State& state, bool with_ema) {
  const Tensor p = Tensor::full({state.range(0)}, 0.5), g = Tensor::full({state.range(0)}, 0.01);
  const Tensor m = Tensor::zeros({state.range(0)}), v = m.clone(), ema = p.clone();
  for (auto _ : state)
    tw::kernels::adam_step({.step = 10, .grad_scale = 0.5, .ema_decay = 0.999},
                           {p.view(), g.view(), m.view(), v.view(), with_ema ? ema.view() : tw::View{}, {}});
  state.SetBytesProcessed(state.iterations() * (with_ema ? 9 : 7) * static_cast<int64_t>(p.nbytes()));
  state.SetItemsProcessed(state.iterations() * p.numel());
}
BENCHMARK_CAPTURE(adam, plain, false)->Arg(128 * 128 * 9)->Arg(1 << 22)->UseRealTime();
BENCHMARK_CAPTURE(adam, ema, true)->Arg(128 * 128 * 9)->Arg(1 << 22)->UseRealTime();

void square_sum(benchmark::State& state) {
  const Tensor x = Tensor::full({state.range(0)}, 0.5);
  const Tensor workspace = Tensor::empty({tw::kernels::square_sum_workspace_bytes(x.numel())}, tw::DType::u8);
  for (auto _ : state) benchmark::DoNotOptimize(tw::kernels::square_sum(x.view(), workspace.view()));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(x.nbytes()));
}
BENCHMARK(square_sum)->Arg(128 * 128 * 9)->Arg(1 << 22)->UseRealTime();

}  // namespace
