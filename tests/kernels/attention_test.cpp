#include "kernels/op/attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/thread_pool.h"
#include "tensor/error.h"
#include "tests/kernels/every_isa.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

using kernels::AttentionParams;

struct Forward {
  Tensor o, log_sum_exp;
};

Forward run(const AttentionParams& params, const Tensor& q, const Tensor& k, const Tensor& v,
            const Tensor& mask = {}) {
  Forward result{
      Tensor::empty(q.shape(), q.dtype()),
      Tensor::empty({q.dim(0), params.heads, q.dim(1)}, q.dtype() == DType::f64 ? DType::f64 : DType::f32)};
  const Tensor workspace = Tensor::empty(
      {kernels::attention_forward_workspace_bytes(params, q.shape(), k.shape(), q.dtype())}, DType::u8);
  kernels::attention_forward(params, {q.view(), k.view(), v.view(), mask.view()}, result.o.view(),
                             result.log_sum_exp.view(), workspace.view());
  return result;
}

struct Backward {
  Tensor dq, dk, dv;
};

Backward run_backward(const AttentionParams& params, const Tensor& q, const Tensor& k, const Tensor& v,
                      const Tensor& d_o, const Tensor& mask = {}) {
  const Forward forward = run(params, q, k, v, mask);
  Backward result{Tensor::empty(q.shape(), q.dtype()), Tensor::empty(k.shape(), q.dtype()),
                  Tensor::empty(k.shape(), q.dtype())};
  const Tensor workspace = Tensor::empty(
      {kernels::attention_backward_workspace_bytes(params, q.shape(), k.shape(), q.dtype())}, DType::u8);
  kernels::attention_backward(params, {q.view(), k.view(), v.view(), mask.view()}, forward.log_sum_exp.view(),
                              d_o.view(), {result.dq.view(), result.dk.view(), result.dv.view()},
                              workspace.view());
  return result;
}

// Row by row: scores, softmax, weighted sum; in f64.
Tensor naive(const AttentionParams& params, const Tensor& q, const Tensor& k, const Tensor& v,
             const Tensor& mask = {}) {
  const int64_t n = q.dim(0), tq = q.dim(1), tk = k.dim(1), c = q.dim(2), d = c / params.heads;
  const double scale = params.scale != 0 ? params.scale : 1 / std::sqrt(static_cast<double>(d));
  const std::vector<double> vq = q.to_vector(), vk = k.to_vector(), vv = v.to_vector();
  const std::vector<double> allowed = mask.to_vector();
  std::vector<double> o(vq.size());
  const auto at = [c](int64_t sample, int64_t t, int64_t token, int64_t channel) {
    return static_cast<size_t>((sample * t + token) * c + channel);
  };
  for (int64_t sample = 0; sample < n; ++sample)
    for (int64_t h = 0; h < params.heads; ++h)
      for (int64_t i = 0; i < tq; ++i) {
        std::vector<double> p(static_cast<size_t>(tk));
        double sum = 0;
        for (int64_t j = 0; j < tk; ++j) {
          double score = 0;
          for (int64_t l = h * d; l < (h + 1) * d; ++l)
            score += vq[at(sample, tq, i, l)] * vk[at(sample, tk, j, l)];
          const int64_t of = mask.defined() && mask.rank() == 3 ? sample : 0;
          const bool may = allowed.empty() || allowed[static_cast<size_t>((of * tq + i) * tk + j)] != 0;
          p[static_cast<size_t>(j)] = may ? std::exp(scale * score) : 0;
          sum += p[static_cast<size_t>(j)];
        }
        for (int64_t j = 0; j < tk && sum > 0; ++j)
          for (int64_t l = h * d; l < (h + 1) * d; ++l)
            o[at(sample, tq, i, l)] += p[static_cast<size_t>(j)] / sum * vv[at(sample, tk, j, l)];
      }
  return Tensor::from(o, q.shape());
}

Tensor random_mask(const Shape& shape, unsigned seed) {
  std::vector<uint8_t> allowed;
  for (double value : random_tensor(shape, DType::f64, seed).to_vector()) allowed.push_back(value > -0.2);
  return Tensor::from(allowed, shape);
}

struct Case {
  int64_t n, tq, tk, heads, d;
};
const std::vector<Case> cases = {{1, 1, 1, 1, 1},    {2, 3, 5, 2, 7},    {1, 16, 16, 1, 32},
                                 {2, 33, 65, 3, 20}, {1, 64, 64, 4, 64}, {3, 37, 100, 1, 33},
                                 {1, 70, 31, 2, 48}, {2, 70, 45, 2, 64}};

double tolerance(DType dtype) { return dtype == DType::f64 ? 1e-13 : dtype == DType::f32 ? 2e-6 : 8e-3; }

using AttentionTest = EveryIsa;

TEST_P(AttentionTest, MatchesTheNaiveOpAtOddShapes) {
  for (const auto& [n, tq, tk, heads, d] : cases)
    for (DType dtype : {DType::f32, DType::f64, DType::bf16})
      for (int masked : {0, 1, 2}) {
        const Tensor q = random_tensor({n, tq, heads * d}, dtype, 1, 2);
        const Tensor k = random_tensor({n, tk, heads * d}, dtype, 2, 2);
        const Tensor v = random_tensor({n, tk, heads * d}, dtype, 3);
        const Tensor mask = masked == 0   ? Tensor()
                            : masked == 1 ? random_mask({tq, tk}, 4)
                                          : random_mask({n, tq, tk}, 5);
        const AttentionParams params{.heads = heads};
        EXPECT_LE(max_error(run(params, q, k, v, mask).o, naive(params, q, k, v, mask)), tolerance(dtype))
            << n << " " << tq << " " << tk << " " << heads << " " << d << " " << dtype_name(dtype) << " mask "
            << masked;
      }
}

// VDPBF16PS is used where it is fast; its results are right on every processor that has it.
TEST(AttentionBf16Dot, VectorsMatchTheNaiveOp) {
  const kernels::Isa before = kernels::active_isa();
  for (kernels::Isa isa : kernels::supported_isas())
    if (isa == kernels::Isa::avx512_bf16) {
      kernels::set_active_isa(isa);
      kernels::prefer_vdpbf16ps(true);
      const Shape queries{2, 70, 64}, keys{2, 45, 64};
      const Tensor q = random_tensor(queries, DType::bf16, 1, 2), k = random_tensor(keys, DType::bf16, 2, 2),
                   v = random_tensor(keys, DType::bf16, 3), mask = random_mask({70, 45}, 4);
      EXPECT_LE(max_error(run({.heads = 2}, q, k, v, mask).o, naive({.heads = 2}, q, k, v, mask)),
                tolerance(DType::bf16));
      kernels::prefer_vdpbf16ps(false);
    }
  kernels::set_active_isa(before);
}

// The f64 gradients themselves are checked by finite differences.
TEST_P(AttentionTest, BackwardInF32AndBf16FollowsF64) {
  const DType f64 = DType::f64;
  for (const auto& [n, tq, tk, heads, d] : cases)
    for (DType dtype : {DType::f32, DType::bf16}) {
      const Tensor q = random_tensor({n, tq, heads * d}, dtype, 1, 2);
      const Tensor k = random_tensor({n, tk, heads * d}, dtype, 2, 2);
      const Tensor v = random_tensor({n, tk, heads * d}, dtype, 3), d_o = random_tensor(q.shape(), dtype, 4);
      const Tensor mask = random_mask({tq, tk}, 5);
      const AttentionParams params{.heads = heads, .scale = 0.2};
      const Backward result = run_backward(params, q, k, v, d_o, mask);
      const Backward exact = run_backward(params, q.to(f64), k.to(f64), v.to(f64), d_o.to(f64), mask);
      const double limit = dtype == DType::f32 ? 4e-6 : 1e-2;
      EXPECT_LE(max_error(result.dq, exact.dq), limit) << tq << " " << tk << " " << d << dtype_name(dtype);
      EXPECT_LE(max_error(result.dk, exact.dk), limit) << tq << " " << tk << " " << d << dtype_name(dtype);
      EXPECT_LE(max_error(result.dv, exact.dv), limit) << tq << " " << tk << " " << d << dtype_name(dtype);
    }
}

TEST_P(AttentionTest, HugeScoresDoNotOverflow) {
  const Tensor q = random_tensor({1, 9, 16}, DType::f32, 1, 100),
               k = random_tensor({1, 21, 16}, DType::f32, 2, 100);
  const Tensor v = random_tensor({1, 21, 16}, DType::f32, 3);
  const Tensor exact = run({}, q.to(DType::f64), k.to(DType::f64), v.to(DType::f64)).o;
  EXPECT_LE(max_error(run({}, q, k, v).o, exact), 1e-2);  // scores near 1e4 carry 1e-3 of rounding
}

TEST_P(AttentionTest, AQueryThatMayAttendToNothingGivesZeros) {
  const Tensor q = random_tensor({1, 2, 8}), k = random_tensor({1, 5, 8}), v = random_tensor({1, 5, 8});
  const Tensor mask = Tensor::from(std::vector<uint8_t>{0, 0, 0, 0, 0, 1, 0, 1, 0, 0}, {2, 5});
  for (double value : run({}, q, k, v, mask).o.select(1, 0).to_vector()) EXPECT_EQ(value, 0);
  const Backward gradients = run_backward({}, q, k, v, random_tensor({1, 2, 8}, DType::f32, 7), mask);
  for (double value : gradients.dq.select(1, 0).to_vector()) EXPECT_EQ(value, 0);
  for (int64_t j : {0, 1, 3, 4}) {
    if (j == 0) continue;
    for (double value : gradients.dv.select(1, j).to_vector()) EXPECT_EQ(value == 0, j != 2);
  }
}

TEST_P(AttentionTest, IsTheSameForAnyThreadCountAndBatchSize) {
  const int threads = kernels::thread_count();
  const Shape shape{3, 70, 48};
  const Tensor q = random_tensor(shape, DType::f32, 1), k = random_tensor(shape, DType::f32, 2);
  const Tensor v = random_tensor(shape, DType::f32, 3), d_o = random_tensor(shape, DType::f32, 4);
  const AttentionParams params{.heads = 1};
  std::vector<Tensor> o;
  std::vector<Backward> gradients;
  for (int count : {1, 2, 3}) {
    kernels::set_thread_count(count);
    o.push_back(run(params, q, k, v).o);
    gradients.push_back(run_backward(params, q, k, v, d_o));
  }
  kernels::set_thread_count(2);
  const auto sample = [](const Tensor& x, int64_t i) { return x.slice(0, i, i + 1); };
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(run(params, sample(q, i), sample(k, i), sample(v, i)).o.to_vector(),
              sample(o[0], i).to_vector());
    const Backward one = run_backward(params, sample(q, i), sample(k, i), sample(v, i), sample(d_o, i));
    EXPECT_EQ(one.dq.to_vector(), sample(gradients[0].dq, i).to_vector());
    EXPECT_EQ(one.dk.to_vector(), sample(gradients[0].dk, i).to_vector());
    EXPECT_EQ(one.dv.to_vector(), sample(gradients[0].dv, i).to_vector());
  }
  kernels::set_thread_count(threads);
  for (size_t i = 1; i < 3; ++i) {
    EXPECT_EQ(o[i].to_vector(), o[0].to_vector());
    EXPECT_EQ(gradients[i].dq.to_vector(), gradients[0].dq.to_vector());
    EXPECT_EQ(gradients[i].dk.to_vector(), gradients[0].dk.to_vector());
    EXPECT_EQ(gradients[i].dv.to_vector(), gradients[0].dv.to_vector());
  }
}

// A long map is worked on in ranges of queries, as many as the thread count asks for.
TEST_P(AttentionTest, BackwardInRangesOfQueriesIsTheSumOverQueries) {
  const int threads = kernels::thread_count();
  const int64_t tq = 300, tk = 1100, d = 9, part = 100;
  const Tensor q = random_tensor({1, tq, d}, DType::f32, 1, 2), k = random_tensor({1, tk, d}, DType::f32, 2);
  const Tensor v = random_tensor({1, tk, d}, DType::f32, 3), d_o = random_tensor({1, tq, d}, DType::f32, 4);
  std::vector<Backward> gradients;
  for (int count : {1, 2, 5}) {
    kernels::set_thread_count(count);
    gradients.push_back(run_backward({}, q, k, v, d_o));
    EXPECT_EQ(gradients.back().dq.to_vector(), gradients[0].dq.to_vector()) << count;
    EXPECT_EQ(gradients.back().dk.to_vector(), gradients[0].dk.to_vector()) << count;
    EXPECT_EQ(gradients.back().dv.to_vector(), gradients[0].dv.to_vector()) << count;
  }
  kernels::set_thread_count(threads);
  std::vector<double> dk(static_cast<size_t>(tk * d)), dv(dk);
  const auto exact = [](const Tensor& x) { return x.to(DType::f64); };
  for (int64_t first = 0; first < tq; first += part) {
    const auto some = [&](const Tensor& x) { return exact(x.slice(1, first, first + part)).contiguous(); };
    const Backward one = run_backward({}, some(q), exact(k), exact(v), some(d_o));
    EXPECT_LE(max_error(gradients[0].dq.slice(1, first, first + part), one.dq), 4e-6);
    const std::vector<double> dk_part = one.dk.to_vector(), dv_part = one.dv.to_vector();
    for (size_t i = 0; i < dk.size(); ++i) dk[i] += dk_part[i], dv[i] += dv_part[i];
  }
  EXPECT_LE(max_error(gradients[0].dk, Tensor::from(dk, {1, tk, d})), 1e-5);
  EXPECT_LE(max_error(gradients[0].dv, Tensor::from(dv, {1, tk, d})), 1e-5);
}

TEST(AttentionWorkspace, BackwardGrowsLinearlyWithTheTokens) {
  const auto bytes = [](int64_t t) {
    return kernels::attention_backward_workspace_bytes({}, {1, t, 64}, {1, t, 64}, DType::f32);
  };
  EXPECT_LT(bytes(16384), 2.5 * static_cast<double>(bytes(8192)));
}

TEST_P(AttentionTest, ReadsPackedViewsAndWritesNowhereElse) {
  const int64_t n = 2, t = 19, c = 22, guard = 8;
  for (DType dtype : {DType::f32, DType::bf16}) {
    const Tensor packed = random_tensor({n, t, 3 * c}, dtype, 1);
    const Tensor q = packed.slice(2, 0, c), k = packed.slice(2, c, 2 * c), v = packed.slice(2, 2 * c, 3 * c);
    const Tensor wide = Tensor::full({n, t, c + 2 * guard}, 7, dtype);
    const Tensor inside = wide.slice(2, guard, guard + c);
    const AttentionParams params{.heads = 2};
    const Tensor workspace = Tensor::empty(
        {kernels::attention_forward_workspace_bytes(params, q.shape(), k.shape(), dtype)}, DType::u8);
    const Tensor log_sum_exp = Tensor::empty({n, 2, t});
    kernels::attention_forward(params, {q.view(), k.view(), v.view(), {}}, inside.view(), log_sum_exp.view(),
                               workspace.view());
    EXPECT_EQ(inside.to_vector(), run(params, q.contiguous(), k.contiguous(), v.contiguous()).o.to_vector());
    for (const Tensor& edge : {wide.slice(2, 0, guard), wide.slice(2, guard + c, c + 2 * guard)})
      for (double value : edge.to_vector()) ASSERT_EQ(value, 7);
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, AttentionTest, every_isa(), isa_test_name);

TEST(AttentionErrors, SayWhatWasExpected) {
  const Tensor q = random_tensor({1, 4, 6}), k = random_tensor({1, 5, 6});
  EXPECT_THROW(run({.heads = 4}, q, k, k), Error);
  EXPECT_THROW(run({}, q, random_tensor({1, 5, 7}), k), Error);
  EXPECT_THROW(run({}, q, k, random_tensor({1, 4, 6})), Error);
  EXPECT_THROW(run({}, q, k, k.to(DType::bf16)), Error);
  EXPECT_THROW(run({}, q, k, k, Tensor::zeros({4, 4}, DType::u8)), Error);
  EXPECT_THROW(run({}, q.permute({0, 2, 1}), k, k), Error);
}

}  // namespace
}  // namespace tw
