// What the profiler costs an op: the line in its entry point without a profile, and with one.
#include <benchmark/benchmark.h>

#include "kernels/op/profile.h"
#include "tensor/tensor.h"

namespace {

void op_timer(benchmark::State& state) {
  const tw::Tensor x = tw::Tensor::zeros({4, 32, 32, 128}), w = tw::Tensor::zeros({3, 3, 128, 128});
  const tw::View vx = x.view(), vw = w.view();
  tw::kernels::Profile profile;
  std::unique_ptr<tw::kernels::ProfileScope> scope;
  if (state.range(0)) scope = std::make_unique<tw::kernels::ProfileScope>(profile);
  for (auto _ : state) {
    const tw::kernels::OpTimer timer(
        "op", [] { return 1.0; }, vx, vw, vx);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(op_timer)->ArgName("recording")->Arg(0)->Arg(1);

}  // namespace
