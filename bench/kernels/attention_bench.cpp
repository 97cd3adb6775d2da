// Attention from packed q, k, v at U-Net sizes; forward is 4 n t^2 c operations, backward 10.
#include <benchmark/benchmark.h>

#include "kernels/op/attention.h"
#include "tensor/tensor.h"

namespace {

using tw::DType;
using tw::Tensor;

struct Setup {
  tw::kernels::AttentionParams params;
  Tensor packed, d_packed, o, log_sum_exp, forward_workspace, backward_workspace;

  // Arguments: n, tokens, channels, heads.
  Setup(const benchmark::State& state, DType dtype) {
    const int64_t n = state.range(0), t = state.range(1), c = state.range(2);
    params.heads = state.range(3);
    Tensor values = Tensor::empty({n, t, 3 * c});
    float value = 0;
    for (float& element : values.span<float>())
      element = value = 0.9f * value + 0.3f - (value > 1 ? 1.7f : 0);
    packed = values.to(dtype), d_packed = packed.clone();
    o = Tensor::full({n, t, c}, 0.1).to(dtype);
    log_sum_exp = Tensor::empty({n, params.heads, t});
    forward_workspace = Tensor::empty(
        {tw::kernels::attention_forward_workspace_bytes(params, o.shape(), o.shape(), dtype)}, DType::u8);
    backward_workspace = Tensor::empty(
        {tw::kernels::attention_backward_workspace_bytes(params, o.shape(), o.shape(), dtype)}, DType::u8);
  }
  tw::View part(const Tensor& tensor, int64_t i) const {
    const int64_t c = o.dim(2);
    return tensor.slice(2, i * c, (i + 1) * c).view();
  }
  tw::kernels::AttentionInputs inputs() const {
    return {part(packed, 0), part(packed, 1), part(packed, 2), {}};
  }
  void count(benchmark::State& state, double products) const {
    const double flops = products * 0.5 * tw::kernels::attention_forward_flops(o.shape(), o.shape());
    state.counters["GFLOP/s"] =
        benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  }
};

void attention_forward(benchmark::State& state, DType dtype) {
  const Setup s(state, dtype);
  for (auto _ : state)
    tw::kernels::attention_forward(s.params, s.inputs(), s.o.view(), s.log_sum_exp.view(),
                                   s.forward_workspace.view());
  s.count(state, 2);
  state.counters["scratch MB"] = static_cast<double>(s.forward_workspace.nbytes()) * 1e-6;
}

void attention_backward(benchmark::State& state, DType dtype) {
  const Setup s(state, dtype);
  const Tensor d_o = s.o.clone();
  tw::kernels::attention_forward(s.params, s.inputs(), s.o.view(), s.log_sum_exp.view(),
                                 s.forward_workspace.view());
  for (auto _ : state)
    tw::kernels::attention_backward(s.params, s.inputs(), s.log_sum_exp.view(), d_o.view(),
                                    {s.part(s.d_packed, 0), s.part(s.d_packed, 1), s.part(s.d_packed, 2)},
                                    s.backward_workspace.view());
  s.count(state, 5);
  state.counters["scratch MB"] = static_cast<double>(s.backward_workspace.nbytes()) * 1e-6;
}

void shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->Args({1, 16, 256, 1})->Args({1, 64, 256, 1})->Args({1, 256, 256, 1})->Args({1, 256, 256, 4});
  benchmark->Args({16, 256, 256, 1})->Args({1, 1024, 128, 2})->Args({1, 4096, 64, 1});
  benchmark->ArgNames({"n", "t", "c", "heads"})->UseRealTime();
}

BENCHMARK_CAPTURE(attention_forward, f32, DType::f32)->Apply(shapes);
BENCHMARK_CAPTURE(attention_forward, bf16, DType::bf16)->Apply(shapes);
BENCHMARK_CAPTURE(attention_backward, f32, DType::f32)->Apply(shapes);
BENCHMARK_CAPTURE(attention_backward, bf16, DType::bf16)->Apply(shapes);

}  // namespace
