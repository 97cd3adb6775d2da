// The steps that led to the matrix product c(m, n) = a(m, k) b(k, n), at 1024 x 256 x 768, one thread: the
// definition, the loops in the order that vectorises, sums in registers, and b in panels. The last steps are
// gemm and a 1x1 convolution whose weights were packed before. Each is compared with gemm before it is timed.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "bench/kernels/peak.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/conv2d.h"
#include "kernels/op/gemm.h"
#include "tensor/tensor.h"

namespace tw {
namespace {

constexpr int64_t m = 1024, n = 256, k = 768;

struct Problem {
  Tensor a = Tensor::empty({m, k}), b = Tensor::empty({k, n}), c = Tensor::zeros({m, n}),
         panels = Tensor::empty({k, n}), scratch, packed, space;
  kernels::Conv2dProblem conv{{}, {1, 1, m, k}, {1, 1, k, n}, DType::f32};
  Problem() {
    for (Tensor* t : {&a, &b})
      for (int64_t i = 0; i < t->numel(); ++i)
        t->data<float>()[i] = std::sin(static_cast<float>(i % 1000) * 0.37f);
    scratch = Tensor::empty({kernels::gemm_workspace_bytes({}, a.shape(), b.shape())}, DType::u8);
    packed = Tensor::empty({kernels::conv2d_packed_bytes(conv, kernels::Conv2dPass::forward)}, DType::u8);
    space = Tensor::empty({kernels::conv2d_forward_workspace_bytes(conv, true)}, DType::u8);
    kernels::conv2d_pack_weights(conv, b.reshape({1, 1, k, n}).view(), kernels::Conv2dPass::forward,
                                 packed.view());
  }
};

void definition(const Problem& p) {  // one output at a time: strided reads of b
  const float *a = p.a.data<float>(), *b = p.b.data<float>();
  float* c = p.c.data<float>();
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t l = 0; l < k; ++l) sum += a[i * k + l] * b[l * n + j];
      c[i * n + j] = sum;
    }
}

void columns_innermost(const Problem& p) {  // a row of b times one a: the compiler vectorises over j
  const float *a = p.a.data<float>(), *b = p.b.data<float>();
  float* c = p.c.data<float>();
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) c[i * n + j] = 0;
    for (int64_t l = 0; l < k; ++l)
      for (int64_t j = 0; j < n; ++j) c[i * n + j] += a[i * k + l] * b[l * n + j];
  }
}

typedef float Four __attribute__((vector_size(16)));
typedef float Eight __attribute__((vector_size(32)));
typedef float Sixteen __attribute__((vector_size(64)));

// Sums of MR rows x two vectors in registers; step: floats between the rows of b.
template <class V, int MR>
[[gnu::always_inline]] inline void tiles(const Problem& p, const float* b, bool panels) {
  constexpr int64_t width = sizeof(V) / sizeof(float), wide = 2 * width;
  const int64_t step = panels ? wide : n;
  const float* a = p.a.data<float>();
  float* c = p.c.data<float>();
  for (int64_t j = 0; j < n; j += wide)
    for (int64_t i = 0; i < m; i += MR) {
      V sums[MR][2] = {};
      const float* from = panels ? b + j * k : b + j;
      for (int64_t l = 0; l < k; ++l, from += step) {
        V left, right;
        std::memcpy(&left, from, sizeof left);
        std::memcpy(&right, from + width, sizeof right);
#pragma GCC unroll 8
        for (int r = 0; r < MR; ++r) {
          const V x = a[(i + r) * k + l] - V{};
          sums[r][0] += x * left;
          sums[r][1] += x * right;
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < MR; ++r) {
        const V first = sums[r][0], second = sums[r][1];
        std::memcpy(c + (i + r) * n + j, &first, sizeof first);
        std::memcpy(c + (i + r) * n + j + width, &second, sizeof second);
      }
    }
}

int lanes() {
  return kernels::active_isa() >= kernels::Isa::avx512 ? 16
         : kernels::active_isa() == kernels::Isa::avx2 ? 8
                                                       : 4;
}

void tiles_portable(const Problem& p, const float* b, bool panels) { tiles<Four, 4>(p, b, panels); }
#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] void tiles_avx2(const Problem& p, const float* b, bool panels) {
  tiles<Eight, 4>(p, b, panels);
}
[[gnu::target("avx512f,fma")]] void tiles_avx512(const Problem& p, const float* b, bool panels) {
  tiles<Sixteen, 8>(p, b, panels);
}
#endif

void run_tiles(const Problem& p, const float* b, bool panels) {
#if defined(__x86_64__)
  if (lanes() == 16) return tiles_avx512(p, b, panels);
  if (lanes() == 8) return tiles_avx2(p, b, panels);
#endif
  tiles_portable(p, b, panels);
}

void register_tiles(const Problem& p) { run_tiles(p, p.b.data<float>(), false); }

void packed_panels(const Problem& p) {  // b copied to [panel][k][two vectors] in the call
  const int64_t wide = 2 * lanes();
  float* to = p.panels.data<float>();
  for (int64_t j = 0; j < n; j += wide)
    for (int64_t l = 0; l < k; ++l, to += wide)
      std::memcpy(to, p.b.data<float>() + l * n + j, static_cast<size_t>(wide) * sizeof(float));
  run_tiles(p, p.panels.data<float>(), true);
}

void production(const Problem& p) {
  kernels::gemm({}, p.a.view(), p.b.view(), {}, p.c.view(), p.scratch.view());
}

void packed_before(const Problem& p) {
  kernels::conv2d_forward({}, p.a.reshape({1, 1, m, k}).view(), p.b.reshape({1, 1, k, n}).view(), {},
                          p.c.reshape({1, 1, m, n}).view(), p.space.view(), p.packed.view());
}

void rung(benchmark::State& state, void (*run)(const Problem&)) {
  const int before = kernels::thread_count();
  kernels::set_thread_count(1);
  {
    const Problem p;
    production(p);
    const std::vector<double> expected = p.c.to_vector();
    run(p);
    const std::vector<double> found = p.c.to_vector();
    for (size_t i = 0; i < found.size(); ++i)
      if (std::abs(found[i] - expected[i]) > 1e-3) state.SkipWithError("differs from gemm");
    const bench::Stopwatch watch;
    for (auto _ : state) run(p);
    const double rate = 2.0 * m * n * k * static_cast<double>(state.iterations()) / watch.seconds();
    state.counters["GFLOP/s"] = rate / 1e9;
    state.counters["%peak"] = 100 * rate / bench::peak_flops();
  }
  kernels::set_thread_count(before);
}
BENCHMARK_CAPTURE(rung, gemm_definition, definition)->UseRealTime();
BENCHMARK_CAPTURE(rung, gemm_columns_innermost, columns_innermost)->UseRealTime();
BENCHMARK_CAPTURE(rung, gemm_register_tiles, register_tiles)->UseRealTime();
BENCHMARK_CAPTURE(rung, gemm_packed_panels, packed_panels)->UseRealTime();
BENCHMARK_CAPTURE(rung, gemm_production, production)->UseRealTime();
BENCHMARK_CAPTURE(rung, gemm_packed_before, packed_before)->UseRealTime();

}  // namespace
}  // namespace tw
