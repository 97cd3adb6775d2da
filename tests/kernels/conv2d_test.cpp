#include "kernels/op/conv2d.h"

#include <gtest/gtest.h>

#include <cstring>

#include "kernels/cpu/thread_pool.h"
#include "tests/kernels/conv2d_naive.h"
#include "tests/kernels/every_isa.h"

namespace tw {
namespace {

using kernels::Conv2dParams;
using kernels::Conv2dPass;
using Conv2dTest = EveryIsa;

struct Case {
  const char* name;
  Shape x, w;
  Conv2dParams params;
};

std::vector<Case> cases() {
  return {
      {"3x3", {2, 5, 7, 16}, {3, 3, 16, 32}, Conv2dParams::same(3)},
      {"3x3 odd channels", {1, 6, 5, 19}, {3, 3, 19, 37}, Conv2dParams::same(3)},
      {"image in", {2, 9, 8, 3}, {3, 3, 3, 40}, Conv2dParams::same(3)},
      {"image out", {2, 7, 8, 33}, {3, 3, 33, 3}, Conv2dParams::same(3)},
      {"one channel", {1, 4, 4, 1}, {3, 3, 1, 1}, Conv2dParams::same(3)},
      {"1x1", {3, 5, 3, 48}, {1, 1, 48, 20}, {}},
      {"1x1 stride 2", {2, 5, 6, 17}, {1, 1, 17, 9}, {.stride_h = 2, .stride_w = 2}},
      {"stride 2", {2, 8, 8, 16}, {3, 3, 16, 16}, {2, 2, 1, 1, 1, 1}},
      {"stride 2, pad after only", {2, 8, 8, 16}, {3, 3, 16, 24}, {2, 2, 0, 1, 0, 1}},
      {"stride beyond the kernel", {1, 11, 10, 5}, {2, 2, 5, 6}, {3, 4, 0, 0, 0, 0}},
      {"stride 2 and 3, kernel 5x4", {1, 13, 12, 7}, {5, 4, 7, 11}, {2, 3, 2, 1, 0, 3}},
      {"dilation", {1, 12, 11, 8}, {3, 3, 8, 10}, {1, 1, 2, 2, 3, 3, 2, 3}},
      {"dilation 2 with stride 2", {1, 12, 12, 8}, {3, 3, 8, 10}, {2, 2, 2, 2, 2, 2, 2, 2}},
      {"dilation 3 with stride 2", {1, 12, 13, 4}, {3, 3, 4, 5}, {2, 2, 3, 3, 3, 3, 3, 3}},
      {"pad beyond the kernel", {1, 3, 3, 4}, {2, 2, 4, 4}, {1, 1, 4, 3, 2, 5}},
      {"several depth blocks", {1, 4, 5, 160}, {3, 3, 160, 48}, Conv2dParams::same(3)},
      {"depth cut inside a tap", {1, 3, 3, 1300}, {1, 2, 1300, 17}, {}},
      {"wide row", {1, 2, 600, 4}, {3, 3, 4, 5}, Conv2dParams::same(3)},
  };
}

Tensor scratch(int64_t bytes) { return Tensor::empty({bytes}, DType::u8); }

double tolerance(DType dtype) { return dtype == DType::bf16 ? 6e-3 : dtype == DType::f64 ? 1e-12 : 3e-6; }

// Runs every implementation that applies to every case and compares with the formula.
void check_all(DType dtype, DType weight_dtype) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const Tensor x = random_tensor(c.x, dtype, 1), w = random_tensor(c.w, weight_dtype, 2);
    const Shape ys = kernels::conv2d_output_shape(c.params, c.x, c.w);
    const Tensor dy = random_tensor(ys, dtype, 3);
    const NaiveConv2d expected = naive_conv2d(c.params, x, w, dy);
    const kernels::Conv2dProblem problem{c.params, c.x, c.w, dtype, false};
    for (const auto& implementation : kernels::conv2d_forward_implementations()) {
      if (implementation.declines(problem)) continue;
      SCOPED_TRACE(implementation.name);
      const Tensor y = Tensor::full(ys, 77, dtype);
      const Tensor space = scratch(kernels::conv2d_forward_workspace_bytes(c.params, c.x, c.w, false));
      implementation.run(problem, x.view(), w.view(), {}, y.view(), space.view(), {});
      EXPECT_LE(max_error(y, expected.y), tolerance(dtype)) << "y";
    }
    for (const auto& implementation : kernels::conv2d_data_gradient_implementations()) {
      if (implementation.declines(problem)) continue;
      SCOPED_TRACE(implementation.name);
      const Tensor dx = Tensor::full(c.x, 77, dtype);
      const Tensor space = scratch(kernels::conv2d_data_gradient_workspace_bytes(c.params, c.x, c.w, false));
      implementation.run(problem, dy.view(), w.view(), dx.view(), space.view(), {});
      EXPECT_LE(max_error(dx, expected.dx), tolerance(dtype)) << "dx";
    }
    const DType gradient = dtype == DType::f64 ? DType::f64 : DType::f32;
    for (const auto& implementation : kernels::conv2d_weight_gradient_implementations()) {
      if (implementation.declines(problem)) continue;
      SCOPED_TRACE(implementation.name);
      const Tensor dw = Tensor::full(c.w, 77, gradient), db = Tensor::full({c.w[3]}, 77, gradient);
      const Tensor space = scratch(kernels::conv2d_weight_gradient_workspace_bytes(c.params, c.x, c.w));
      implementation.run(problem, x.view(), dy.view(), dw.view(), db.view(), space.view());
      EXPECT_LE(max_error(dw, expected.dw), dtype == DType::f64 ? 1e-12 : 3e-6) << "dw";
      EXPECT_LE(max_error(db, expected.db), dtype == DType::f64 ? 1e-12 : 3e-6) << "db";
    }
  }
}

TEST_P(Conv2dTest, F32MatchesTheFormula) { check_all(DType::f32, DType::f32); }
TEST_P(Conv2dTest, Bf16MatchesTheFormula) { check_all(DType::bf16, DType::bf16); }
TEST_P(Conv2dTest, Bf16WithF32WeightsMatchesTheFormula) { check_all(DType::bf16, DType::f32); }
TEST_P(Conv2dTest, F64MatchesTheFormula) { check_all(DType::f64, DType::f64); }

INSTANTIATE_TEST_SUITE_P(Isa, Conv2dTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
