// A DDPM update as one pass, and composed of basic ops (its fallback).
#include <benchmark/benchmark.h>

#include "autograd/ops/binary.h"
#include "autograd/ops/unary.h"
#include "kernels/op/sampler_step.h"
#include "tensor/tensor.h"

namespace {

const tw::kernels::SamplerStep step{.x0_from_x = 1.2,
                                    .x0_from_output = -0.7,
                                    .clip = 1,
                                    .next_from_x0 = 0.1,
                                    .next_from_x = 0.9,
                                    .next_from_noise = 0.05};

tw::Tensor images(int64_t n) { return tw::Tensor::full({n, 32, 32, 3}, 0.5); }

void sampler_step_fused(benchmark::State& state) {
  const tw::Tensor x = images(state.range(0)), o = images(state.range(0)), z = images(state.range(0));
  tw::Tensor next = images(state.range(0));
  for (auto _ : state)
    tw::kernels::sampler_step({&step, 1}, {x.view(), o.view(), z.view(), {}, {}, next.view()});
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(4 * x.nbytes()));
}
BENCHMARK(sampler_step_fused)->Arg(1)->Arg(16)->Arg(256)->UseRealTime();

void sampler_step_composed(benchmark::State& state) {
  const tw::NoGrad no_grad;
  const tw::Var x = images(state.range(0)), o = images(state.range(0)), z = images(state.range(0));
  for (auto _ : state) {
    const tw::Var x0 =
        tw::clamp(tw::add(tw::scale(x, step.x0_from_x), tw::scale(o, step.x0_from_output)), -1, 1);
    benchmark::DoNotOptimize(
        tw::add(tw::add(tw::scale(x0, step.next_from_x0), tw::scale(x, step.next_from_x)),
                tw::scale(z, step.next_from_noise)));
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(4 * x.value().nbytes()));
}
BENCHMARK(sampler_step_composed)->Arg(1)->Arg(16)->Arg(256)->UseRealTime();

}  // namespace
