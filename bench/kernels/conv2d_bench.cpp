// The three passes of conv2d at the layers of a U-Net, weights packed before the clock starts.
#include <benchmark/benchmark.h>

#include "bench/kernels/peak.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/conv2d.h"
#include "kernels/op/gemm.h"
#include "tensor/tensor.h"

namespace tw {
namespace {

using kernels::Conv2dPass;

struct Layer {
  kernels::Conv2dParams params;
  Tensor x, w, y, dw, db;
};

// Arguments: batch, map side, channels in, channels out, kernel side, bf16.
Layer layer_of(const benchmark::State& state) {
  const int64_t n = state.range(0), s = state.range(1), ci = state.range(2), co = state.range(3),
                k = state.range(4);
  const DType dtype = state.range(5) ? DType::bf16 : DType::f32;
  return {kernels::Conv2dParams::same(k),    Tensor::full({n, s, s, ci}, 0.5, dtype),
          Tensor::full({k, k, ci, co}, 0.1), Tensor::full({n, s, s, co}, 0.5, dtype),
          Tensor::empty({k, k, ci, co}),     Tensor::empty({co})};
}

void report(benchmark::State& state, const bench::Stopwatch& watch, double flops) {
  const double rate = flops * static_cast<double>(state.iterations()) / watch.seconds();
  state.counters["GFLOP/s"] = rate / 1e9;
  state.counters["%peak"] = 100 * rate / (bench::peak_flops() * kernels::thread_count());
}

void report(benchmark::State& state, const bench::Stopwatch& watch, const Layer& l) {
  report(state, watch, kernels::conv2d_flops(l.params, l.x.shape(), l.w.shape()));
  state.SetBytesProcessed(state.iterations() *
                          static_cast<int64_t>(l.x.nbytes() + l.w.nbytes() + l.y.nbytes()));
}

kernels::Conv2dProblem problem_of(const Layer& l) {
  return {l.params, l.x.shape(), l.w.shape(), l.x.dtype()};
}

Tensor packed(const Layer& l, Conv2dPass pass) {
  Tensor result = Tensor::empty({kernels::conv2d_packed_bytes(problem_of(l), pass)}, DType::u8);
  kernels::conv2d_pack_weights(problem_of(l), l.w.view(), pass, result.view());
  return result;
}

void conv2d_forward(benchmark::State& state) {
  const Layer l = layer_of(state);
  const Tensor panels = packed(l, Conv2dPass::forward);
  const Tensor scratch =
      Tensor::empty({kernels::conv2d_forward_workspace_bytes(problem_of(l), true)}, DType::u8);
  const bench::Stopwatch watch;
  for (auto _ : state)
    kernels::conv2d_forward(l.params, l.x.view(), l.w.view(), {}, l.y.view(), scratch.view(), panels.view());
  report(state, watch, l);
}

void conv2d_data_gradient(benchmark::State& state) {
  const Layer l = layer_of(state);
  const Tensor panels = packed(l, Conv2dPass::data_gradient);
  const Tensor scratch =
      Tensor::empty({kernels::conv2d_data_gradient_workspace_bytes(problem_of(l), true)}, DType::u8);
  const bench::Stopwatch watch;
  for (auto _ : state)
    kernels::conv2d_data_gradient(l.params, l.y.view(), l.w.view(), l.x.view(), scratch.view(),
                                  panels.view());
  report(state, watch, l);
}

void conv2d_weight_gradient(benchmark::State& state) {
  const Layer l = layer_of(state);
  const Tensor scratch =
      Tensor::empty({kernels::conv2d_weight_gradient_workspace_bytes(problem_of(l))}, DType::u8);
  const bench::Stopwatch watch;
  for (auto _ : state)
    kernels::conv2d_weight_gradient(l.params, l.x.view(), l.y.view(), l.dw.view(), l.db.view(),
                                    scratch.view());
  report(state, watch, l);
}

void layers(benchmark::internal::Benchmark* b) {
  b->ArgNames({"n", "side", "ci", "co", "k", "bf16"})->UseRealTime();
  b->Args({1, 32, 128, 128, 3, 0})->Args({16, 32, 128, 128, 3, 0})->Args({1, 32, 128, 128, 3, 1});
  b->Args({1, 16, 256, 256, 3, 0})->Args({16, 8, 256, 256, 3, 0})->Args({16, 32, 64, 64, 3, 0});
  b->Args({16, 16, 512, 256, 1, 0})->Args({16, 32, 3, 128, 3, 0})->Args({16, 32, 128, 3, 3, 0});
}
BENCHMARK(conv2d_forward)->Apply(layers);
BENCHMARK(conv2d_data_gradient)->Apply(layers);
BENCHMARK(conv2d_weight_gradient)->Apply(layers);

void gemm(benchmark::State& state) {
  const int64_t m = state.range(0), n = state.range(1), k = state.range(2);
  const Tensor a = Tensor::full({m, k}, 0.5), b = Tensor::full({k, n}, 0.5), c = Tensor::empty({m, n});
  const Tensor scratch = Tensor::empty({kernels::gemm_workspace_bytes({}, a.shape(), b.shape())}, DType::u8);
  const bench::Stopwatch watch;
  for (auto _ : state) kernels::gemm({}, a.view(), b.view(), {}, c.view(), scratch.view());
  report(state, watch, 2.0 * static_cast<double>(m * n * k));
}
BENCHMARK(gemm)
    ->ArgNames({"m", "n", "k"})
    ->Args({256, 256, 256})
    ->Args({1024, 256, 768})
    ->Args({64, 512, 512})
    ->Args({4, 512, 128})
    ->UseRealTime();

}  // namespace
}  // namespace tw
