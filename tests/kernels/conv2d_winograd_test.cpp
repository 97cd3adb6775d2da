// Winograd convolution whatever its cost model says, at shapes that the lists of implementations give to
// others.
#include <gtest/gtest.h>

#include "kernels/cpu/conv2d.h"
#include "kernels/cpu/exact.h"
#include "kernels/cpu/thread_pool.h"
#include "tests/kernels/conv2d_naive.h"
#include "tests/kernels/every_isa.h"

namespace tw {
namespace {

using kernels::Conv2dParams;
using kernels::Conv2dPass;
using kernels::Conv2dProblem;
using Conv2dWinogradTest = EveryIsa;

// The bound asked of it, relative to the largest value; measured: 1e-6 to 5e-6 (direct: 3e-7 to 1e-6).
constexpr double bound = 2e-5;

struct Case {
  const char* name;
  Shape x, w;
  Conv2dParams params = Conv2dParams::same(3);
};

std::vector<Case> cases() {
  return {
      {"whole tiles", {1, 8, 8, 16}, {3, 3, 16, 32}},
      {"part of a tile", {2, 5, 7, 16}, {3, 3, 16, 32}},
      {"one pixel", {1, 1, 1, 16}, {3, 3, 16, 16}},
      {"odd channels", {1, 6, 5, 19}, {3, 3, 19, 37}},
      {"half a panel", {1, 6, 9, 33}, {3, 3, 33, 48}},
      {"three channels", {2, 9, 8, 3}, {3, 3, 3, 3}},
      {"no pad", {1, 11, 10, 8}, {3, 3, 8, 8}, {}},
      {"one-sided pads", {1, 7, 9, 8}, {3, 3, 8, 8}, {1, 1, 0, 1, 2, 0}},
      {"pad 2", {1, 6, 7, 8}, {3, 3, 8, 8}, {1, 1, 2, 2, 2, 2}},
      {"pad beyond the kernel", {1, 3, 4, 4}, {3, 3, 4, 4}, {1, 1, 4, 3, 5, 3}},
      {"several groups", {1, 21, 30, 8}, {3, 3, 8, 8}},
      {"several blocks", {3, 20, 20, 160}, {3, 3, 160, 16}},
      {"deep", {1, 4, 6, 300}, {3, 3, 300, 70}},
  };
}

Tensor bytes(int64_t count) { return Tensor::empty({count}, DType::u8); }

Tensor run(Conv2dPass pass, const Conv2dProblem& problem, const Tensor& source, const Tensor& w,
           const kernels::Conv2dEpilogue& terms, const Tensor& result) {
  const auto& winograd = kernels::conv2d_winograd[pass == Conv2dPass::forward ? 0 : 1];
  // One element more on either side shows what is written outside of them.
  const int64_t packed_size = winograd.packed_bytes(problem), space_size = winograd.scratch_bytes(problem);
  const Tensor packed = bytes(packed_size + 64), space = bytes(space_size + 64);
  for (const Tensor& t : {packed, space}) t.slice(0, t.numel() - 64, t.numel()).fill(77);
  winograd.pack(problem, w.view(), packed.view().pointer);
  winograd.run(problem, source.view(), w.view(), terms, result.view(), packed.view().pointer,
               space.view().pointer);
  for (const Tensor& t : {packed, space})
    for (double value : t.slice(0, t.numel() - 64, t.numel()).to_vector()) EXPECT_EQ(value, 77);
  return result;
}

TEST_P(Conv2dWinogradTest, MatchesTheFormula) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Case& c : cases()) {
      SCOPED_TRACE(c.name);
      const Tensor x = random_tensor(c.x, dtype, 1), w = random_tensor(c.w, dtype, 2);
      const Shape ys = kernels::conv2d_output_shape(c.params, c.x, c.w);
      const Tensor dy = random_tensor(ys, dtype, 3);
      const NaiveConv2d expected = naive_conv2d(c.params, x, w, dy);
      const Conv2dProblem problem{c.params, c.x, c.w, dtype};
      const double tolerance = dtype == DType::bf16 ? 4e-3 : bound;
      EXPECT_LE(
          max_error(run(Conv2dPass::forward, problem, x, w, {}, Tensor::full(ys, 77, dtype)), expected.y),
          tolerance);
      EXPECT_LE(max_error(run(Conv2dPass::data_gradient, problem, dy, w, {}, Tensor::full(c.x, 77, dtype)),
                          expected.dx),
                tolerance);
    }
}

struct Gradients {
  Tensor dw, db;
};

Gradients weight_gradient(const Conv2dProblem& problem, const Tensor& x, const Tensor& dy) {
  const auto& winograd = kernels::conv2d_winograd_weight_gradient;
  const int64_t size = winograd.scratch_bytes(problem), ws = problem.w.numel(), co = problem.w[3];
  const Tensor space = bytes(size + 64);
  space.slice(0, size, size + 64).fill(77);
  const Tensor dw = Tensor::full({ws + 16}, 77), db = Tensor::full({co + 16}, 77);
  winograd.run(problem, x.view(), dy.view(), dw.slice(0, 0, ws).view(), db.slice(0, 0, co).view(),
               space.view().pointer);
  for (const Tensor& t :
       {space.slice(0, size, size + 64), dw.slice(0, ws, ws + 16), db.slice(0, co, co + 16)})
    for (double value : t.to_vector()) EXPECT_EQ(value, 77);
  return {dw.slice(0, 0, ws).reshape(problem.w), db.slice(0, 0, co)};
}

TEST_P(Conv2dWinogradTest, TheWeightGradientMatchesTheFormula) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Case& c : cases()) {
      SCOPED_TRACE(c.name);
      const Tensor x = random_tensor(c.x, dtype, 1), w = random_tensor(c.w, dtype, 2);
      const Tensor dy = random_tensor(kernels::conv2d_output_shape(c.params, c.x, c.w), dtype, 3);
      const NaiveConv2d expected = naive_conv2d(c.params, x, w, dy);
      const Gradients g = weight_gradient({c.params, c.x, c.w, dtype}, x, dy);
      EXPECT_LE(max_error(g.dw, expected.dw), bound);
      EXPECT_LE(max_error(g.db, expected.db), 3e-6);
    }
}

TEST_P(Conv2dWinogradTest, TheWeightGradientsBitsDoNotDependOnThreads) {
  const int before = kernels::thread_count();
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const Tensor x = random_tensor(c.x),
                 dy = random_tensor(kernels::conv2d_output_shape(c.params, c.x, c.w), DType::f32, 2);
    std::vector<double> first;
    for (int threads : {1, 2, 3, 4, 7}) {
      kernels::set_thread_count(threads);
      const Gradients g = weight_gradient({c.params, c.x, c.w}, x, dy);
      std::vector<double> all = g.dw.to_vector();
      for (double value : g.db.to_vector()) all.push_back(value);
      if (threads == 1) first = all;
      EXPECT_EQ(all, first) << threads << " threads";
    }
  }
  kernels::set_thread_count(before);
}

TEST_P(Conv2dWinogradTest, AddsTheTermsAndTheResidualMayBeTheResult) {
  const Shape xs{2, 6, 9, 20}, ws{3, 3, 20, 21}, ys{2, 6, 9, 21};
  const Tensor x = random_tensor(xs), w = random_tensor(ws, DType::f32, 2),
               y = random_tensor(ys, DType::f32, 3);
  const Tensor bias = random_tensor({21}, DType::f32, 4), temb = random_tensor({2, 21}, DType::f32, 5);
  std::vector<double> expected = naive_conv2d(Conv2dParams::same(3), x, w, random_tensor(ys)).y.to_vector();
  const std::vector<double> B = bias.to_vector(), E = temb.to_vector(), R = y.to_vector();
  for (size_t i = 0; i < expected.size(); ++i)
    expected[i] += B[i % 21] + E[i / (54 * 21) * 21 + i % 21] + R[i];
  const Conv2dProblem problem{Conv2dParams::same(3), xs, ws, DType::f32, true};
  run(Conv2dPass::forward, problem, x, w, {bias.view(), temb.view(), y.view()}, y);
  EXPECT_LE(max_error(y, Tensor::from(expected, ys)), bound);
}

TEST_P(Conv2dWinogradTest, BitsDependOnNeitherThreadsNorBatch) {
  const int before = kernels::thread_count();
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    Shape xs = c.x;
    const Shape one_y = kernels::conv2d_output_shape(c.params, {1, xs[1], xs[2], xs[3]}, c.w);
    const Tensor w = random_tensor(c.w, DType::f32, 2);
    for (Conv2dPass pass : {Conv2dPass::forward, Conv2dPass::data_gradient}) {
      const bool forward = pass == Conv2dPass::forward;
      const auto results = [&](int64_t n, const Tensor& source) {
        const Shape batch_x{n, xs[1], xs[2], xs[3]}, batch_y{n, one_y[1], one_y[2], one_y[3]};
        return run(pass, {c.params, batch_x, c.w}, source, w, {}, Tensor::empty(forward ? batch_y : batch_x))
            .to_vector();
      };
      const Tensor source =
          random_tensor(forward ? Shape{3, xs[1], xs[2], xs[3]} : Shape{3, one_y[1], one_y[2], one_y[3]});
      kernels::set_thread_count(1);
      std::vector<double> one_by_one;
      for (int64_t n = 0; n < 3; ++n)
        for (double value : results(1, source.slice(0, n, n + 1))) one_by_one.push_back(value);
      for (int threads : {1, 2, 3}) {
        kernels::set_thread_count(threads);
        EXPECT_EQ(results(3, source), one_by_one) << threads << " threads";
      }
    }
  }
  kernels::set_thread_count(before);
}

TEST(Conv2dWinograd, IsChosenByMapAndChannelsAloneAndNeverInExactMode) {
  const auto chosen = [](int64_t n, int64_t side, int64_t ci, int64_t co, int64_t k = 3) {
    return std::string(kernels::conv2d_implementation(
                           {Conv2dParams::same(k), {n, side, side, ci}, {k, k, ci, co}}, Conv2dPass::forward)
                           .name);
  };
  const bool before = kernels::exact();
  kernels::set_exact(false);
  for (int64_t n : {1, 64}) {
    EXPECT_EQ(chosen(n, 32, 128, 128), "winograd");
    EXPECT_EQ(chosen(n, 16, 256, 256), "winograd");
    EXPECT_NE(chosen(n, 4, 256, 256), "winograd") << "the weights are read for one tile";
    EXPECT_NE(chosen(n, 32, 3, 128), "winograd") << "the transforms cost more than the sum";
    EXPECT_NE(chosen(n, 32, 128, 128, 5), "winograd");
  }
  const auto gradient = kernels::conv2d_winograd_weight_gradient.declines;
  const Conv2dProblem wide{Conv2dParams::same(3), {4, 32, 32, 128}, {3, 3, 128, 128}};
  EXPECT_EQ(gradient(wide), nullptr);
  EXPECT_NE(gradient({Conv2dParams::same(3), {1, 4, 4, 128}, {3, 3, 128, 128}}), nullptr) << "one tile";
  kernels::set_exact(true);
  EXPECT_NE(chosen(1, 32, 128, 128), "winograd");
  EXPECT_NE(gradient(wide), nullptr);
  kernels::set_exact(before);
}

INSTANTIATE_TEST_SUITE_P(Isa, Conv2dWinogradTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
