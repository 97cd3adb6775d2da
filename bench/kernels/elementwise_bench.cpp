// Memory-bound ops beside the machine's own memcpy at the same sizes: (n, 32, 32, 128) f32, n the argument.
#include <benchmark/benchmark.h>

#include <cstring>

#include "autograd/ops/avg_pool2d.h"
#include "autograd/ops/binary.h"
#include "autograd/ops/concat.h"
#include "autograd/ops/dropout.h"
#include "autograd/ops/mse_loss.h"
#include "autograd/ops/reshape.h"
#include "autograd/ops/resize2d.h"
#include "autograd/ops/sum.h"
#include "autograd/ops/unary.h"

namespace {

using namespace tw;

Var images(benchmark::State& state) { return Var(Tensor::full({state.range(0), 32, 32, 128}, 0.5)); }

// Bytes: those that the op must read and write.
template <class F>
void measure(benchmark::State& state, int64_t bytes, F f) {
  for (auto _ : state) f();
  state.SetBytesProcessed(state.iterations() * bytes);
}

void memory_copy(benchmark::State& state) {
  const Tensor x = images(state).value();
  Tensor y = x.clone();
  const auto bytes = static_cast<int64_t>(x.nbytes());
  measure(state, 2 * bytes, [&] {
    std::memcpy(y.data<float>(), x.data<float>(), x.nbytes());
    benchmark::ClobberMemory();
  });
}
void add_same(benchmark::State& state) {
  const Var a = images(state), b = images(state);
  measure(state, 3 * static_cast<int64_t>(a.value().nbytes()), [&] { add(a, b); });
}
void add_channels(benchmark::State& state) {
  const Var a = images(state), b(Tensor::full({state.range(0), 1, 1, 128}, 0.5));
  measure(state, 2 * static_cast<int64_t>(a.value().nbytes()), [&] { add(a, b); });
}
void multiply_scalar(benchmark::State& state) {
  const Var a = images(state);
  measure(state, 2 * static_cast<int64_t>(a.value().nbytes()), [&] { scale(a, 2); });
}
void concat_channels(benchmark::State& state) {
  const Var a = images(state), b = images(state);
  measure(state, 4 * static_cast<int64_t>(a.value().nbytes()), [&] { concat({a, b}, -1); });
}
void sum_pixels(benchmark::State& state) {
  const Var a = images(state);
  measure(state, static_cast<int64_t>(a.value().nbytes()), [&] { sum(a, {1, 2}); });
}
void sum_all(benchmark::State& state) {
  const Var a = images(state);
  measure(state, static_cast<int64_t>(a.value().nbytes()), [&] { sum(a); });
}
void to_bf16(benchmark::State& state) {
  const Var a = images(state);
  measure(state, static_cast<int64_t>(a.value().nbytes()) * 3 / 2, [&] { cast(a, DType::bf16); });
}
void from_bf16(benchmark::State& state) {
  const Var a(images(state).value().to(DType::bf16));
  measure(state, static_cast<int64_t>(a.value().nbytes()) * 3, [&] { cast(a, DType::f32); });
}
void nearest_doubling(benchmark::State& state) {
  const Var a = images(state);
  measure(state, 5 * static_cast<int64_t>(a.value().nbytes()), [&] { upsample_nearest2x(a); });
}
void average_pool(benchmark::State& state) {
  const Var a = images(state);
  measure(state, static_cast<int64_t>(a.value().nbytes()) * 5 / 4, [&] { avg_pool2d(a, 2); });
}
void bicubic_doubling(benchmark::State& state) {
  const Var a = images(state);
  measure(state, 5 * static_cast<int64_t>(a.value().nbytes()),
          [&] { resize2d(a, 64, 64, kernels::ResizeMode::bicubic); });
}
void drop(benchmark::State& state) {
  const Var a = images(state);
  measure(state, 2 * static_cast<int64_t>(a.value().nbytes()), [&] { dropout(a, 0.1, 1); });
}
void squared_error(benchmark::State& state) {
  const Var a = images(state), b = images(state);
  measure(state, 2 * static_cast<int64_t>(a.value().nbytes()), [&] { mse_loss(a, b); });
}
void swap_axes(benchmark::State& state) {
  const Var a = images(state);
  measure(state, 2 * static_cast<int64_t>(a.value().nbytes()), [&] { permute(a, {0, 3, 1, 2}); });
}

// What an op costs besides its arithmetic: one element, recorded and not.
void overhead_without_gradient(benchmark::State& state) {
  const Var a(Tensor::full({1}, 1));
  for (auto _ : state) benchmark::DoNotOptimize(add(a, a));
}
void overhead_recorded(benchmark::State& state) {
  const Var a = Var::leaf(Tensor::full({1}, 1));
  for (auto _ : state) benchmark::DoNotOptimize(add(a, a));
}

BENCHMARK(memory_copy)->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(add_same)->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(add_channels)->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(multiply_scalar)->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(concat_channels)->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(sum_pixels)->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(sum_all)->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(to_bf16)->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(from_bf16)->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(nearest_doubling)->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(average_pool)->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(bicubic_doubling)->Arg(1)->UseRealTime();
BENCHMARK(drop)->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(squared_error)->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(swap_axes)->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(overhead_without_gradient);
BENCHMARK(overhead_recorded);

}  // namespace
