#include "kernels/op/group_norm_silu.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/thread_pool.h"
#include "tensor/error.h"
#include "tests/kernels/every_isa.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

using kernels::GroupNormParams;

struct Result {
  Tensor y, mean, rstd;
};

Result run(const GroupNormParams& params, const Tensor& x, const Tensor& gamma, const Tensor& beta,
           const Tensor& scale_shift = {}) {
  const DType moments = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  Result r{Tensor::empty(x.shape(), x.dtype()), Tensor::empty({x.dim(0), params.groups}, moments),
           Tensor::empty({x.dim(0), params.groups}, moments)};
  const Tensor workspace =
      Tensor::empty({kernels::group_norm_silu_workspace_bytes(params, x.shape(), x.dtype())}, DType::u8);
  kernels::group_norm_silu_forward(params, {x.view(), gamma.view(), beta.view(), scale_shift.view()},
                                   r.y.view(), r.mean.view(), r.rstd.view(), workspace.view());
  return r;
}

struct BackwardResult {
  Tensor dx, dgamma, dbeta, dscale_shift;
};

BackwardResult run_backward(const GroupNormParams& params, const Tensor& x, const Tensor& gamma,
                            const Tensor& beta, const Tensor& scale_shift, const Tensor& dy) {
  const Result forward = run(params, x, gamma, beta, scale_shift);
  const DType moments = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  BackwardResult r{Tensor::empty(x.shape(), x.dtype()),
                   Tensor::empty(gamma.shape(), moments),
                   Tensor::empty(beta.shape(), moments),
                   {}};
  if (scale_shift.defined()) r.dscale_shift = Tensor::empty(scale_shift.shape(), scale_shift.dtype());
  const Tensor workspace =
      Tensor::empty({kernels::group_norm_silu_workspace_bytes(params, x.shape(), x.dtype())}, DType::u8);
  kernels::group_norm_silu_backward(params, {x.view(), gamma.view(), beta.view(), scale_shift.view()},
                                    forward.mean.view(), forward.rstd.view(), dy.view(),
                                    {r.dx.view(), r.dgamma.view(), r.dbeta.view(), r.dscale_shift.view()},
                                    workspace.view());
  return r;
}

// The op composed of its basic steps, in f64: normalise, affine, scale and shift, SiLU.
Tensor composed(const GroupNormParams& params, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                const Tensor& scale_shift = {}) {
  const int64_t n = x.dim(0), c = x.shape().back(), size = c / params.groups;
  const int64_t pixels = x.numel() / (n * c);
  std::vector<double> values = x.to_vector();
  const std::vector<double> g = gamma.to_vector(), b = beta.to_vector(), s = scale_shift.to_vector();
  for (int64_t sample = 0; sample < n; ++sample)
    for (int64_t group = 0; group < params.groups; ++group) {
      const auto each = [&](auto&& f) {
        for (int64_t p = 0; p < pixels; ++p)
          for (int64_t j = group * size; j < (group + 1) * size; ++j)
            f(values[static_cast<size_t>((sample * pixels + p) * c + j)], static_cast<size_t>(j));
      };
      const double count = static_cast<double>(pixels * size);
      double mean = 0, variance = 0;
      each([&](double& v, size_t) { mean += v / count; });
      each([&](double& v, size_t) { variance += (v - mean) * (v - mean) / count; });
      each([&](double& v, size_t j) {
        v = (v - mean) / std::sqrt(variance + params.eps);
        v = v * g[j] + b[j];
        if (!s.empty()) {
          const size_t row = static_cast<size_t>(sample * 2 * c);
          v = v * (1 + s[row + j]) + s[row + static_cast<size_t>(c) + j];
        }
        if (params.silu) v /= 1 + std::exp(-v);
      });
    }
  return Tensor::from(values, x.shape());
}

struct Case {
  Shape x;
  int64_t groups;
};
const std::vector<Case> cases = {{{1, 1, 1, 4}, 1},    {{2, 3, 3, 6}, 3},    {{3, 5, 7, 33}, 11},
                                 {{1, 9, 40}, 5},      {{2, 2, 3, 4, 8}, 8}, {{1, 20, 20, 64}, 32},
                                 {{5, 11, 13, 16}, 4}, {{2, 300, 100}, 4}};

using GroupNormTest = EveryIsa;

TEST_P(GroupNormTest, MatchesTheComposedOp) {
  for (const auto& [shape, groups] : cases)
    for (DType dtype : {DType::f32, DType::f64, DType::bf16})
      for (bool silu : {false, true})
        for (bool with_scale : {false, true}) {
          const int64_t c = shape.back();
          const Tensor x = random_tensor(shape, dtype, 1, 3), gamma = random_tensor({c}, dtype, 2);
          const Tensor beta = random_tensor({c}, dtype, 3);
          const Tensor scale = with_scale ? random_tensor({shape[0], 2 * c}, dtype, 4) : Tensor();
          const GroupNormParams params{.groups = groups, .eps = 1e-5, .silu = silu};
          const double tolerance = dtype == DType::f64 ? 1e-12 : dtype == DType::f32 ? 3e-6 : 8e-3;
          EXPECT_LE(max_error(run(params, x, gamma, beta, scale).y, composed(params, x, gamma, beta, scale)),
                    tolerance)
              << shape << " " << dtype_name(dtype) << " silu " << silu << " scale " << with_scale;
        }
}

// In f32 against f64 arithmetic on the same values; the f64 pass is checked by finite differences.
TEST_P(GroupNormTest, BackwardInF32AndBf16FollowsF64) {
  for (const auto& [shape, groups] : cases)
    for (DType dtype : {DType::f32, DType::bf16})
      for (bool silu : {false, true}) {
        const int64_t c = shape.back();
        const Tensor x = random_tensor(shape, dtype, 1, 3), dy = random_tensor(shape, dtype, 5);
        const Tensor gamma = random_tensor({c}, DType::f32, 2), beta = random_tensor({c}, DType::f32, 3);
        const Tensor scale = random_tensor({shape[0], 2 * c}, dtype, 4);
        const GroupNormParams params{.groups = groups, .eps = 1e-5, .silu = silu};
        const BackwardResult result = run_backward(params, x, gamma, beta, scale, dy);
        const DType f64 = DType::f64;
        const BackwardResult exact =
            run_backward(params, x.to(f64), gamma.to(f64), beta.to(f64), scale.to(f64), dy.to(f64));
        const double tolerance = dtype == DType::f32 ? 1e-5 : 1e-2;
        EXPECT_EQ(result.dgamma.dtype(), DType::f32);
        EXPECT_LE(max_error(result.dx, exact.dx), tolerance) << shape << dtype_name(dtype) << silu;
        EXPECT_LE(max_error(result.dgamma, exact.dgamma), 1e-5) << shape << dtype_name(dtype) << silu;
        EXPECT_LE(max_error(result.dbeta, exact.dbeta), 1e-5) << shape << dtype_name(dtype) << silu;
        EXPECT_LE(max_error(result.dscale_shift, exact.dscale_shift), tolerance) << shape << silu;
      }
}

TEST_P(GroupNormTest, ALargeMeanCostsNoDigits) {
  Tensor x = random_tensor({2, 32, 32, 8}, DType::f32, 1);
  for (float& v : x.span<float>()) v += 4096;  // 2^12: values keep 11 bits behind the point
  const Tensor one = Tensor::full({8}, 1), zero = Tensor::zeros({8});
  const GroupNormParams params{.groups = 2};
  EXPECT_LE(max_error(run(params, x, one, zero).y, composed(params, x, one, zero)), 4096 * 2e-7);
  const Result r = run(params, x, one, zero),
               exact = run(params, x.to(DType::f64), one.to(DType::f64), zero.to(DType::f64));
  for (int64_t i = 0; i < 4; ++i)
    EXPECT_NEAR(r.rstd.data<float>()[i], exact.rstd.data<double>()[i], 1e-6 * exact.rstd.data<double>()[i]);
}

TEST_P(GroupNormTest, IsTheSameForAnyThreadCountAndBatchSize) {
  const int threads = kernels::thread_count();
  const Shape shape{3, 23, 29, 48};
  const Tensor x = random_tensor(shape, DType::f32, 1, 3), dy = random_tensor(shape, DType::f32, 2);
  const Tensor gamma = random_tensor({48}, DType::f32, 3), beta = random_tensor({48}, DType::f32, 4);
  const GroupNormParams params{.groups = 8, .eps = 1e-5, .silu = true};
  std::vector<Result> forward;
  std::vector<BackwardResult> backward;
  for (int count : {1, 2, 3}) {
    kernels::set_thread_count(count);
    forward.push_back(run(params, x, gamma, beta));
    backward.push_back(run_backward(params, x, gamma, beta, {}, dy));
  }
  kernels::set_thread_count(2);
  for (int64_t i = 0; i < 3; ++i) {
    const Tensor one = x.slice(0, i, i + 1), done = dy.slice(0, i, i + 1);
    EXPECT_EQ(run(params, one, gamma, beta).y.to_vector(), forward[0].y.slice(0, i, i + 1).to_vector());
    EXPECT_EQ(run_backward(params, one, gamma, beta, {}, done).dx.to_vector(),
              backward[0].dx.slice(0, i, i + 1).to_vector());
  }
  kernels::set_thread_count(threads);
  for (size_t i = 1; i < forward.size(); ++i) {
    EXPECT_EQ(forward[i].y.to_vector(), forward[0].y.to_vector());
    EXPECT_EQ(backward[i].dx.to_vector(), backward[0].dx.to_vector());
    EXPECT_EQ(backward[i].dgamma.to_vector(), backward[0].dgamma.to_vector());
    EXPECT_EQ(backward[i].dbeta.to_vector(), backward[0].dbeta.to_vector());
  }
}

TEST_P(GroupNormTest, WritesInPlaceAndNowhereElse) {
  const int64_t c = 11, rows = 21, guard = 64;
  for (DType dtype : {DType::f32, DType::bf16}) {
    const Tensor x = random_tensor({1, rows, c}, dtype, 1), gamma = random_tensor({c}, dtype, 2);
    const Tensor beta = random_tensor({c}, dtype, 3);
    const Tensor buffer = Tensor::full({rows * c + 2 * guard}, 7, dtype);
    Tensor inside = buffer.slice(0, guard, guard + rows * c).reshape({1, rows, c});
    inside.copy_from(x);
    const GroupNormParams params{.groups = 1, .eps = 1e-5, .silu = true};
    const Tensor workspace =
        Tensor::empty({kernels::group_norm_silu_workspace_bytes(params, x.shape(), dtype)}, DType::u8);
    const Tensor mean = Tensor::empty({1, 1}), rstd = Tensor::empty({1, 1});
    kernels::group_norm_silu_forward(params, {inside.view(), gamma.view(), beta.view(), {}}, inside.view(),
                                     mean.view(), rstd.view(), workspace.view());
    EXPECT_EQ(inside.to_vector(), run(params, x, gamma, beta).y.to_vector());
    for (const Tensor& edge : {buffer.slice(0, 0, guard), buffer.slice(0, guard + rows * c, buffer.dim(0))})
      for (double v : edge.to_vector()) ASSERT_EQ(v, 7);
  }
}

// dx may share dy's memory, whatever the dtype leaves in dx between the passes.
TEST_P(GroupNormTest, TheGradientMayOverwriteTheIncomingOne) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (bool silu : {false, true}) {
      const Tensor x = random_tensor({2, 9, 9, 12}, dtype, 1), dy = random_tensor(x.shape(), dtype, 2);
      const Tensor gamma = random_tensor({12}, DType::f32, 3), beta = random_tensor({12}, DType::f32, 4);
      const GroupNormParams params{.groups = 3, .eps = 1e-5, .silu = silu};
      const Tensor expected = run_backward(params, x, gamma, beta, {}, dy).dx;
      const Result forward = run(params, x, gamma, beta);
      const Tensor workspace =
          Tensor::empty({kernels::group_norm_silu_workspace_bytes(params, x.shape(), dtype)}, DType::u8);
      kernels::group_norm_silu_backward(
          params, {x.view(), gamma.view(), beta.view(), {}}, forward.mean.view(), forward.rstd.view(),
          dy.view(), {.dx = dy.view(), .dgamma = {}, .dbeta = {}, .dscale_shift = {}}, workspace.view());
      EXPECT_EQ(dy.to_vector(), expected.to_vector());
    }
}

// Channel sums do not see one another, so cutting x between any two channels changes no bit.
TEST_P(GroupNormTest, TwoPartsAreTheWholeBitForBit) {
  const Shape shape{3, 5, 7, 48};
  for (DType dtype : {DType::f32, DType::f64, DType::bf16})
    for (const int64_t cut : {1, 20, 32, 47}) {
      const GroupNormParams params{.groups = 4, .eps = 1e-5, .silu = cut != 32};
      const Tensor x = random_tensor(shape, dtype, 1, 3), dy = random_tensor(shape, dtype, 5);
      const Tensor gamma = random_tensor({48}, dtype, 2), beta = random_tensor({48}, dtype, 3);
      const Tensor first = x.slice(-1, 0, cut).contiguous(), rest = x.slice(-1, cut, 48).contiguous();
      const Result whole = run(params, x, gamma, beta);
      const BackwardResult gradients = run_backward(params, x, gamma, beta, {}, dy);
      const kernels::GroupNormInputs in{first.view(), gamma.view(), beta.view(), {}, rest.view()};
      Result parts{Tensor::empty(shape, dtype), Tensor::empty(whole.mean.shape(), whole.mean.dtype()),
                   Tensor::empty(whole.mean.shape(), whole.mean.dtype())};
      const Tensor workspace =
          Tensor::empty({kernels::group_norm_silu_workspace_bytes(params, shape, dtype)}, DType::u8);
      kernels::group_norm_silu_forward(params, in, parts.y.view(), parts.mean.view(), parts.rstd.view(),
                                       workspace.view());
      EXPECT_EQ(parts.y.to_vector(), whole.y.to_vector()) << dtype_name(dtype) << " cut " << cut;
      const Tensor dx = Tensor::empty(first.shape(), dtype), drest = Tensor::empty(rest.shape(), dtype);
      const Tensor dgamma = Tensor::empty({48}, gradients.dgamma.dtype());
      kernels::group_norm_silu_backward(params, in, parts.mean.view(), parts.rstd.view(), dy.view(),
                                        {dx.view(), dgamma.view(), {}, {}, drest.view()}, workspace.view());
      EXPECT_EQ(dx.to_vector(), gradients.dx.slice(-1, 0, cut).to_vector());
      EXPECT_EQ(drest.to_vector(), gradients.dx.slice(-1, cut, 48).to_vector());
      EXPECT_EQ(dgamma.to_vector(), gradients.dgamma.to_vector());
    }
}

INSTANTIATE_TEST_SUITE_P(Isa, GroupNormTest, every_isa(), isa_test_name);

TEST(GroupNormErrors, SayWhatWasExpected) {
  const Tensor x = random_tensor({1, 4, 4, 10}), gamma = random_tensor({10});
  EXPECT_THROW(run({.groups = 3}, x, gamma, gamma), Error);
  EXPECT_THROW(run({.groups = 2}, x, random_tensor({9}), gamma), Error);
  EXPECT_THROW(run({.groups = 2}, x, gamma.to(DType::f64), gamma), Error);
  EXPECT_THROW(run({.groups = 2}, x, gamma, gamma, random_tensor({1, 10})), Error);
  EXPECT_THROW(run({.groups = 2, .eps = 0}, x, gamma, gamma), Error);
  try {
    run({.groups = 3}, x, gamma, gamma);
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "group_norm_silu_forward: groups = 3 does not divide the 10 channels of x (1, 4, 4, 10)");
  }
}

}  // namespace
}  // namespace tw
