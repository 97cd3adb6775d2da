// The rungs that led to the fused group norm + SiLU; the ladder in docs/handbook/group_norm_silu.md. Each
// rung is checked against the production op before it is timed.
#include <benchmark/benchmark.h>

#include <cmath>

#include "kernels/op/activation.h"
#include "kernels/op/group_norm_silu.h"
#include "tensor/tensor.h"

namespace {

using tw::Tensor;
using tw::kernels::GroupNormParams;

struct Maps {
  GroupNormParams params{.groups = 32, .eps = 1e-5, .silu = true};
  Tensor x, y, normed, dy, dx, gamma, beta, mean, rstd, workspace;
  int64_t n, pixels, c, size;

  explicit Maps(const benchmark::State& state)
      : n(state.range(0)),
        pixels(state.range(1) * state.range(1)),
        c(state.range(2)),
        size(c / params.groups) {
    x = Tensor::empty({n, pixels, c});
    float value = 0;
    for (float& element : x.span<float>()) element = value = 0.9f * value + 0.3f - (value > 1 ? 1.7f : 0);
    y = x.clone(), normed = x.clone(), dy = x.clone(), dx = x.clone();
    gamma = Tensor::full({c}, 1.1), beta = Tensor::full({c}, 0.1);
    mean = Tensor::zeros({n, params.groups}), rstd = mean.clone();
    workspace = Tensor::empty({tw::kernels::group_norm_silu_workspace_bytes(params, x.shape(), x.dtype())},
                              tw::DType::u8);
  }
  tw::kernels::GroupNormInputs inputs() const { return {x.view(), gamma.view(), beta.view(), {}}; }
};

// Rung 1: as the formula reads. Group by group, three passes of stride c, one expf a value.
void naive(Maps& m) {
  const float *x = m.x.data<float>(), *gamma = m.gamma.data<float>(), *beta = m.beta.data<float>();
  float* y = m.y.data<float>();
  const float count = static_cast<float>(m.pixels * m.size);
  for (int64_t sample = 0; sample < m.n; ++sample)
    for (int64_t first = 0; first < m.c; first += m.size) {
      const auto at = [&](int64_t j, int64_t pixel) { return (sample * m.pixels + pixel) * m.c + first + j; };
      float mean = 0, variance = 0;
      for (int64_t j = 0; j < m.size; ++j)
        for (int64_t pixel = 0; pixel < m.pixels; ++pixel) mean += x[at(j, pixel)] / count;
      for (int64_t j = 0; j < m.size; ++j)
        for (int64_t pixel = 0; pixel < m.pixels; ++pixel) {
          const float d = x[at(j, pixel)] - mean;
          variance += d * d / count;
        }
      const float rstd = 1 / std::sqrt(variance + 1e-5f);
      for (int64_t j = 0; j < m.size; ++j)
        for (int64_t pixel = 0; pixel < m.pixels; ++pixel) {
          const float z = (x[at(j, pixel)] - mean) * rstd * gamma[first + j] + beta[first + j];
          y[at(j, pixel)] = z / (1 + std::exp(-z));
        }
    }
}

// Rung 2: memory order. All channels of a pixel together, E[x^2] - mean^2 in one pass (it loses digits when
// the mean is large), still one expf a value.
void memory_order(Maps& m) {
  const float *gamma = m.gamma.data<float>(), *beta = m.beta.data<float>();
  std::vector<float> sum(static_cast<size_t>(m.c)), squares(sum), a(sum), b(sum);
  for (int64_t sample = 0; sample < m.n; ++sample) {
    const float* x = m.x.data<float>() + sample * m.pixels * m.c;
    float* y = m.y.data<float>() + sample * m.pixels * m.c;
    const size_t c = static_cast<size_t>(m.c), size = static_cast<size_t>(m.size);
    std::fill(sum.begin(), sum.end(), 0.0f);
    std::fill(squares.begin(), squares.end(), 0.0f);
    for (int64_t pixel = 0; pixel < m.pixels; ++pixel)
      for (size_t j = 0; j < c; ++j) {
        const float value = x[static_cast<size_t>(pixel) * c + j];
        sum[j] += value;
        squares[j] += value * value;
      }
    const float count = static_cast<float>(m.pixels * m.size);
    for (size_t first = 0; first < c; first += size) {
      float mean = 0, square = 0;
      for (size_t j = first; j < first + size; ++j) mean += sum[j] / count, square += squares[j] / count;
      const float rstd = 1 / std::sqrt(square - mean * mean + 1e-5f);
      for (size_t j = first; j < first + size; ++j) a[j] = rstd * gamma[j], b[j] = beta[j] - mean * a[j];
    }
    for (int64_t pixel = 0; pixel < m.pixels; ++pixel)
      for (size_t j = 0; j < c; ++j) {
        const float z = a[j] * x[static_cast<size_t>(pixel) * c + j] + b[j];
        y[static_cast<size_t>(pixel) * c + j] = z / (1 + std::exp(-z));
      }
  }
}

// Rung 3: the production group norm and the production SiLU, one after the other.
void unfused(Maps& m) {
  GroupNormParams plain = m.params;
  plain.silu = false;
  tw::kernels::group_norm_silu_forward(plain, m.inputs(), m.normed.view(), m.mean.view(), m.rstd.view(),
                                       m.workspace.view());
  tw::kernels::activation_forward({}, m.normed.view(), m.y.view());
}

// Rung 4: production.
void fused(Maps& m) {
  tw::kernels::group_norm_silu_forward(m.params, m.inputs(), m.y.view(), m.mean.view(), m.rstd.view(),
                                       m.workspace.view());
}

void unfused_backward(Maps& m) {
  GroupNormParams plain = m.params;
  plain.silu = false;
  tw::kernels::activation_backward({}, m.normed.view(), m.dy.view(), m.dx.view());
  tw::kernels::group_norm_silu_backward(plain, m.inputs(), m.mean.view(), m.rstd.view(), m.dx.view(),
                                        {m.dx.view(), {}, {}, {}}, m.workspace.view());
}

void fused_backward(Maps& m) {
  tw::kernels::group_norm_silu_backward(m.params, m.inputs(), m.mean.view(), m.rstd.view(), m.dy.view(),
                                        {m.dx.view(), {}, {}, {}}, m.workspace.view());
}

// Times `run` once its result (y or dx) agrees with `reference`'s.
void time_rung(benchmark::State& state, void (*run)(Maps&), void (*reference)(Maps&), Tensor Maps::*result) {
  Maps maps(state);
  unfused(maps);  // what a backward needs
  reference(maps);
  const std::vector<double> expected = (maps.*result).to_vector();
  (maps.*result).fill(0);
  run(maps);
  const std::vector<double> found = (maps.*result).to_vector();
  for (size_t i = 0; i < found.size(); ++i)
    if (!(std::abs(found[i] - expected[i]) < 1e-3)) return state.SkipWithError("differs from production");
  for (auto _ : state) run(maps);
  state.SetItemsProcessed(state.iterations() * maps.x.numel());
}

void shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->Args({1, 32, 128})->Args({16, 32, 128})->ArgNames({"n", "side", "c"})->UseRealTime();
}

void museum_group_norm_silu(benchmark::State& state, void (*run)(Maps&)) {
  time_rung(state, run, fused, &Maps::y);
}
BENCHMARK_CAPTURE(museum_group_norm_silu, 1_naive, naive)->Apply(shapes);
BENCHMARK_CAPTURE(museum_group_norm_silu, 2_memory_order, memory_order)->Apply(shapes);
BENCHMARK_CAPTURE(museum_group_norm_silu, 3_unfused, unfused)->Apply(shapes);
BENCHMARK_CAPTURE(museum_group_norm_silu, 4_fused, fused)->Apply(shapes);

void museum_group_norm_silu_backward(benchmark::State& state, void (*run)(Maps&)) {
  time_rung(state, run, fused_backward, &Maps::dx);
}
BENCHMARK_CAPTURE(museum_group_norm_silu_backward, 3_unfused, unfused_backward)->Apply(shapes);
BENCHMARK_CAPTURE(museum_group_norm_silu_backward, 4_fused, fused_backward)->Apply(shapes);

}  // namespace
