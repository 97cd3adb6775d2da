// The steps that led to the convolution kernel, at 3x3, 128 -> 128 channels, 32x32, batch 1, one thread:
// the definition, the loops in the order that vectorises, and im2col with one GEMM. The last step is
// conv2d_forward. Each is compared with the production kernel before it is timed.
#include <benchmark/benchmark.h>

#include <cmath>
#include <vector>

#include "bench/kernels/peak.h"
#include "kernels/cpu/exact.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/conv2d.h"
#include "kernels/op/gemm.h"
#include "tensor/tensor.h"

namespace tw {
namespace {

constexpr int64_t side = 32, channels = 128, taps = 9;

struct Problem {
  Tensor x = Tensor::empty({1, side, side, channels}), w = Tensor::empty({3, 3, channels, channels}),
         y = Tensor::zeros({1, side, side, channels}), scratch;
  Problem() {
    for (Tensor* t : {&x, &w})
      for (int64_t i = 0; i < t->numel(); ++i)
        t->data<float>()[i] = std::sin(static_cast<float>(i % 1000) * 0.37f);
    scratch =
        Tensor::empty({kernels::conv2d_forward_workspace_bytes({params(), x.shape(), w.shape()})}, DType::u8);
  }
  static kernels::Conv2dParams params() { return kernels::Conv2dParams::same(3); }
};

// f(pixel, tap, source pixel or -1)
template <class F>
void visit_taps(F f) {
  for (int64_t i = 0; i < side; ++i)
    for (int64_t j = 0; j < side; ++j)
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t r = i + t / 3 - 1, s = j + t % 3 - 1;
        f(i * side + j, t, r < 0 || s < 0 || r >= side || s >= side ? -1 : r * side + s);
      }
}

void definition(const Problem& p) {  // one output at a time: strided reads of w
  const float *x = p.x.data<float>(), *w = p.w.data<float>();
  float* y = p.y.data<float>();
  for (int64_t i = 0; i < p.y.numel(); ++i) y[i] = 0;
  visit_taps([&](int64_t pixel, int64_t tap, int64_t from) {
    if (from < 0) return;
    for (int64_t o = 0; o < channels; ++o) {
      float sum = 0;
      for (int64_t c = 0; c < channels; ++c)
        sum += x[from * channels + c] * w[(tap * channels + c) * channels + o];
      y[pixel * channels + o] += sum;
    }
  });
}

void channels_innermost(const Problem& p) {  // a row of w times one x: the compiler vectorises over o
  const float *x = p.x.data<float>(), *w = p.w.data<float>();
  float* y = p.y.data<float>();
  for (int64_t i = 0; i < p.y.numel(); ++i) y[i] = 0;
  visit_taps([&](int64_t pixel, int64_t tap, int64_t from) {
    if (from < 0) return;
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t o = 0; o < channels; ++o)
        y[pixel * channels + o] += x[from * channels + c] * w[(tap * channels + c) * channels + o];
  });
}

void im2col(const Problem& p) {  // the whole column matrix in memory, then one GEMM
  static const Tensor columns = Tensor::empty({side * side, taps * channels});
  const float* x = p.x.data<float>();
  float* to = columns.data<float>();
  visit_taps([&](int64_t pixel, int64_t tap, int64_t from) {
    for (int64_t c = 0; c < channels; ++c)
      to[(pixel * taps + tap) * channels + c] = from < 0 ? 0 : x[from * channels + c];
  });
  const Tensor w = p.w.reshape({taps * channels, channels}), y = p.y.reshape({side * side, channels});
  static const Tensor scratch =
      Tensor::empty({kernels::gemm_workspace_bytes({}, columns.shape(), w.shape())}, DType::u8);
  kernels::gemm({}, columns.view(), w.view(), {}, y.view(), scratch.view());
}

void direct(const Problem& p) {  // the matrix engine, as --exact has it
  const bool before = kernels::exact();
  kernels::set_exact(true);
  static const Tensor scratch = Tensor::empty(
      {kernels::conv2d_forward_workspace_bytes({Problem::params(), p.x.shape(), p.w.shape()})}, DType::u8);
  kernels::conv2d_forward(Problem::params(), p.x.view(), p.w.view(), {}, p.y.view(), scratch.view());
  kernels::set_exact(before);
}

void production(const Problem& p) {
  kernels::conv2d_forward(Problem::params(), p.x.view(), p.w.view(), {}, p.y.view(), p.scratch.view());
}

void rung(benchmark::State& state, void (*run)(const Problem&)) {
  const int before = kernels::thread_count();
  kernels::set_thread_count(1);
  const Problem p;
  production(p);
  const std::vector<double> expected = p.y.to_vector();
  run(p);
  const std::vector<double> found = p.y.to_vector();
  for (size_t i = 0; i < found.size(); ++i)
    if (std::abs(found[i] - expected[i]) > 1e-3) state.SkipWithError("differs from conv2d_forward");
  const bench::Stopwatch watch;
  for (auto _ : state) run(p);
  const double flops =
      2.0 * side * side * taps * channels * channels * static_cast<double>(state.iterations());
  const double rate = flops / watch.seconds();
  state.counters["GFLOP/s"] = rate / 1e9;
  state.counters["%peak"] = 100 * rate / bench::peak_flops();
  kernels::set_thread_count(before);
}
BENCHMARK_CAPTURE(rung, conv2d_definition, definition)->UseRealTime();
BENCHMARK_CAPTURE(rung, conv2d_channels_innermost, channels_innermost)->UseRealTime();
BENCHMARK_CAPTURE(rung, conv2d_im2col, im2col)->UseRealTime();
BENCHMARK_CAPTURE(rung, conv2d_direct, direct)->UseRealTime();
BENCHMARK_CAPTURE(rung, conv2d_production, production)->UseRealTime();

}  // namespace
}  // namespace tw
