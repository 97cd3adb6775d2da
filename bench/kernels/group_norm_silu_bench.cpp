// Group norm (+ SiLU): bytes are those of the passes over memory that the algorithm makes (forward: two reads
// and a write of x; backward: two reads of x and dy, a write and a read of dz, a write of dx).
#include <benchmark/benchmark.h>

#include "kernels/op/group_norm_silu.h"
#include "kernels/op/layer_norm.h"
#include "tensor/tensor.h"

namespace {

using tw::DType;
using tw::Tensor;

struct Setup {
  tw::kernels::GroupNormParams params;
  Tensor x, y, dy, gamma, beta, dgamma, dbeta, mean, rstd, workspace;

  // Arguments: n, side of the map, channels.
  Setup(const benchmark::State& state, DType dtype, bool silu) {
    const int64_t n = state.range(0), side = state.range(1), c = state.range(2);
    params.silu = silu;
    x = Tensor::full({n, side, side, c}, 0.5).to(dtype), y = x.clone(), dy = x.clone();
    float value = 0;
    if (dtype == DType::f32)
      for (float& element : x.span<float>())
        element = value = 0.9f * value + 0.3f - (value > 1 ? 1.0f : 0.0f);
    gamma = Tensor::full({c}, 1.1), beta = Tensor::full({c}, 0.1);
    dgamma = gamma.clone(), dbeta = beta.clone();
    mean = Tensor::zeros({n, params.groups}), rstd = Tensor::full({n, params.groups}, 1);
    workspace =
        Tensor::empty({tw::kernels::group_norm_silu_workspace_bytes(params, x.shape(), dtype)}, DType::u8);
  }
  void forward() {
    tw::kernels::group_norm_silu_forward(params, {x.view(), gamma.view(), beta.view(), {}}, y.view(),
                                         mean.view(), rstd.view(), workspace.view());
  }
  void backward(bool parameters) {
    tw::kernels::group_norm_silu_backward(
        params, {x.view(), gamma.view(), beta.view(), {}}, mean.view(), rstd.view(), dy.view(),
        {y.view(), parameters ? dgamma.view() : tw::View{}, parameters ? dbeta.view() : tw::View{}, {}},
        workspace.view());
  }
  void count(benchmark::State& state, int passes) const {
    state.SetItemsProcessed(state.iterations() * x.numel());
    state.SetBytesProcessed(state.iterations() * passes * static_cast<int64_t>(x.nbytes()));
  }
};

void group_norm(benchmark::State& state, DType dtype, bool silu) {
  Setup setup(state, dtype, silu);
  for (auto _ : state) setup.forward();
  setup.count(state, 3);
}

void group_norm_backward(benchmark::State& state, DType dtype, bool silu, bool parameters) {
  Setup setup(state, dtype, silu);
  setup.forward();
  for (auto _ : state) setup.backward(parameters);
  setup.count(state, silu && dtype != DType::bf16 ? 6 : 5);
}

void layer_norm(benchmark::State& state) {
  const Tensor x = Tensor::full({state.range(0), state.range(1)}, 0.5), y = x.clone();
  const Tensor gamma = Tensor::full({state.range(1)}, 1.1), moments = Tensor::zeros({state.range(0)});
  const Tensor rstd = moments.clone();
  for (auto _ : state)
    tw::kernels::layer_norm_forward({x.view(), gamma.view(), gamma.view()}, 1e-5, y.view(), moments.view(),
                                    rstd.view());
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(2 * x.nbytes()));
}

// The norms of the CIFAR-10 U-Net of Ho et al. 2020, and a map that does not fit a cache.
void shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->Args({1, 32, 128})
      ->Args({1, 16, 256})
      ->Args({1, 8, 256})
      ->Args({16, 32, 128})
      ->Args({1, 128, 128});
  benchmark->ArgNames({"n", "side", "c"})->UseRealTime();
}

BENCHMARK_CAPTURE(group_norm, f32, DType::f32, false)->Apply(shapes);
BENCHMARK_CAPTURE(group_norm, f32_silu, DType::f32, true)->Apply(shapes);
BENCHMARK_CAPTURE(group_norm, bf16_silu, DType::bf16, true)->Apply(shapes);
BENCHMARK_CAPTURE(group_norm_backward, f32_silu, DType::f32, true, false)->Apply(shapes);
BENCHMARK_CAPTURE(group_norm_backward, f32_silu_parameters, DType::f32, true, true)->Apply(shapes);
BENCHMARK_CAPTURE(group_norm_backward, bf16_silu, DType::bf16, true, false)->Apply(shapes);
BENCHMARK(layer_norm)->Args({1024, 256})->Args({256, 1024})->UseRealTime();

}  // namespace
