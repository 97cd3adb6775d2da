// The steps that led to attention, one head of t tokens and d channels, one thread: the definition, the loops
// in the order that vectorises, the (t, t) matrix written down between three vector kernels, and the op. The
// ladder is in docs/handbook/attention.md; each rung is compared with the op before it is timed.
#include <benchmark/benchmark.h>

#include <cmath>
#include <vector>

#include "bench/kernels/peak.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/attention.h"
#include "kernels/op/gemm.h"
#include "kernels/op/softmax.h"
#include "tensor/tensor.h"

namespace tw {
namespace {

struct Problem {
  int64_t t, d;
  float scale;
  Tensor q, k, v, d_o, o, log_sum_exp, dq, dk, dv;
  Tensor scaled_q, p, ds, workspace;  // of the rungs

  explicit Problem(const benchmark::State& state)
      : t(state.range(0)), d(state.range(1)), scale(1 / std::sqrt(static_cast<float>(d))) {
    float value = 0;
    for (Tensor* x : {&q, &k, &v, &d_o}) {
      *x = Tensor::empty({1, t, d});
      for (float& element : x->span<float>()) element = value = 0.9f * value + 0.3f - (value > 1 ? 1.7f : 0);
    }
    o = q.clone(), dq = q.clone(), dk = q.clone(), dv = q.clone(), scaled_q = q.clone();
    for (float& element : scaled_q.span<float>()) element *= scale;
    log_sum_exp = Tensor::empty({1, 1, t});
    p = Tensor::empty({t, t}), ds = Tensor::empty({t, t});
    const Shape map{1, t, d}, rows{t, d}, square{t, t};
    const int64_t bytes = std::max({kernels::attention_forward_workspace_bytes({}, map, map, DType::f32),
                                    kernels::attention_backward_workspace_bytes({}, map, map, DType::f32),
                                    kernels::gemm_workspace_bytes({.transpose_b = true}, rows, rows),
                                    kernels::gemm_workspace_bytes({}, square, rows),
                                    kernels::gemm_outer_workspace_bytes(square, rows)});
    workspace = Tensor::empty({bytes}, DType::u8);
  }
  View rows(const Tensor& x) const { return x.reshape({t, d}).view(); }
};

// Query by query, one score at a time.
void definition(const Problem& x) {
  const float *q = x.q.data<float>(), *k = x.k.data<float>(), *v = x.v.data<float>();
  float *o = x.o.data<float>(), *p = x.p.data<float>();
  for (int64_t i = 0; i < x.t; ++i) {
    float top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < x.t; ++j) {
      float score = 0;
      for (int64_t l = 0; l < x.d; ++l) score += q[i * x.d + l] * k[j * x.d + l];
      p[j] = score * x.scale;
      top = std::max(top, p[j]);
    }
    for (int64_t j = 0; j < x.t; ++j) sum += p[j] = std::exp(p[j] - top);
    for (int64_t l = 0; l < x.d; ++l) {
      float average = 0;
      for (int64_t j = 0; j < x.t; ++j) average += p[j] * v[j * x.d + l];
      o[i * x.d + l] = average / sum;
    }
  }
}

// k is transposed first, so that the inner loops run over keys, and over channels for the average.
void vector_order(const Problem& x) {
  const float *q = x.q.data<float>(), *k = x.k.data<float>(), *v = x.v.data<float>();
  float *o = x.o.data<float>(), *columns = x.dk.data<float>(), *p = x.p.data<float>();
  for (int64_t j = 0; j < x.t; ++j)
    for (int64_t l = 0; l < x.d; ++l) columns[l * x.t + j] = k[j * x.d + l] * x.scale;
  for (int64_t i = 0; i < x.t; ++i) {
    for (int64_t j = 0; j < x.t; ++j) p[j] = 0;
    for (int64_t l = 0; l < x.d; ++l)
      for (int64_t j = 0; j < x.t; ++j) p[j] += q[i * x.d + l] * columns[l * x.t + j];
    float top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < x.t; ++j) top = std::max(top, p[j]);
    for (int64_t j = 0; j < x.t; ++j) sum += p[j] = std::exp(p[j] - top);
    for (int64_t l = 0; l < x.d; ++l) o[i * x.d + l] = 0;
    for (int64_t j = 0; j < x.t; ++j)
      for (int64_t l = 0; l < x.d; ++l) o[i * x.d + l] += p[j] / sum * v[j * x.d + l];
  }
}

void matrix_in_memory(const Problem& x) {
  const View work = x.workspace.view();
  kernels::gemm({.transpose_b = true}, x.rows(x.scaled_q), x.rows(x.k), {}, x.p.view(), work);
  kernels::softmax_forward(x.p.view(), x.p.view());
  kernels::gemm({}, x.p.view(), x.rows(x.v), {}, x.rows(x.o), work);
}

void production(const Problem& x) {
  kernels::attention_forward({}, {x.q.view(), x.k.view(), x.v.view(), {}}, x.o.view(), x.log_sum_exp.view(),
                             x.workspace.view());
}

void matrices_in_memory_backward(const Problem& x) {
  const View work = x.workspace.view();
  kernels::gemm({.transpose_b = true}, x.rows(x.scaled_q), x.rows(x.k), {}, x.p.view(), work);
  kernels::softmax_forward(x.p.view(), x.p.view());
  kernels::gemm({.transpose_b = true}, x.rows(x.d_o), x.rows(x.v), {}, x.ds.view(), work);
  kernels::softmax_backward(x.p.view(), x.ds.view(), x.ds.view());
  kernels::gemm({.alpha = x.scale}, x.ds.view(), x.rows(x.k), {}, x.rows(x.dq), work);
  kernels::gemm_outer(x.ds.view(), x.rows(x.scaled_q), x.rows(x.dk), {}, work);
  kernels::gemm_outer(x.p.view(), x.rows(x.d_o), x.rows(x.dv), {}, work);
}

void production_backward(const Problem& x) {
  kernels::attention_backward({}, {x.q.view(), x.k.view(), x.v.view(), {}}, x.log_sum_exp.view(),
                              x.d_o.view(), {x.dq.view(), x.dk.view(), x.dv.view()}, x.workspace.view());
}

using Run = void (*)(const Problem&);

// Times `run` once the results agree with the reference's; `products` of t t d multiply-adds each.
void rung(benchmark::State& state, Run run, Run reference, std::vector<Tensor Problem::*> results,
          double products) {
  const int before = kernels::thread_count();
  kernels::set_thread_count(1);
  {
    const Problem x(state);
    production(x);  // backward needs the log-sum-exp
    reference(x);
    std::vector<Tensor> expected;
    for (Tensor Problem::*result : results) expected.push_back((x.*result).clone());
    run(x);
    for (size_t r = 0; r < results.size(); ++r)
      for (int64_t i = 0; i < expected[r].numel(); ++i)
        if (!(std::abs(expected[r].data<float>()[i] - (x.*results[r]).data<float>()[i]) < 1e-2f))
          return state.SkipWithError("differs from the op");
    const bench::Stopwatch watch;
    for (auto _ : state) run(x);
    const double rate = products * 2 * static_cast<double>(x.t * x.t * x.d) *
                        static_cast<double>(state.iterations()) / watch.seconds();
    state.counters["GFLOP/s"] = rate / 1e9;
    state.counters["%peak"] = 100 * rate / bench::peak_flops();
  }
  kernels::set_thread_count(before);
}

void museum_attention(benchmark::State& state, Run run) { rung(state, run, production, {&Problem::o}, 2); }
void museum_attention_backward(benchmark::State& state, Run run) {
  rung(state, run, production_backward, {&Problem::dq, &Problem::dk, &Problem::dv}, 5);
}
void shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->Args({256, 256})->Args({4096, 64})->ArgNames({"t", "d"})->UseRealTime();
}

BENCHMARK_CAPTURE(museum_attention, 1_definition, definition)->Apply(shapes);
BENCHMARK_CAPTURE(museum_attention, 2_vector_order, vector_order)->Apply(shapes);
BENCHMARK_CAPTURE(museum_attention, 3_matrix_in_memory, matrix_in_memory)->Apply(shapes);
BENCHMARK_CAPTURE(museum_attention, 4_production, production)->Apply(shapes);
BENCHMARK_CAPTURE(museum_attention_backward, 3_matrices_in_memory, matrices_in_memory_backward)
    ->Apply(shapes);
BENCHMARK_CAPTURE(museum_attention_backward, 4_production, production_backward)->Apply(shapes);

}  // namespace
}  // namespace tw
