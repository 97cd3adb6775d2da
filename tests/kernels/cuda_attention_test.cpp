// Attention forward on a device, in one launch of ours, one of cuDNN and in three, against the CPU.
#include <gtest/gtest.h>

#include "kernels/op/attention.h"
#include "kernels/op/cuda.h"
#include "tensor/cuda_graph.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"

namespace tw::kernels {
namespace {

struct Case {
  int64_t n, tq, tk, heads, d;
  int mask = 0;  // 1: (tq, tk), 2: (n, tq, tk)
  double scale = 0;
};

class CudaAttention : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  }
  DType host() const { return GetParam() == DType::f16 ? DType::f32 : GetParam(); }

  // o and log_sum_exp of both devices, with q, k and v parts of one tensor where they can be.
  void expect_same(const Case& c, double size) const {
    SCOPED_TRACE(detail::join(c.n, " ", c.tq, " ", c.tk, " ", c.heads, " ", c.d, " ", c.mask));
    const int64_t wide = c.heads * c.d, parts = c.tq == c.tk ? 3 : 2;
    const Tensor first = random_tensor({c.n, c.tk, parts * wide}, GetParam(), 1, size).to(host());
    const Tensor other = random_tensor({c.n, c.tq, wide}, GetParam(), 2, size).to(host());
    Tensor mask;
    if (c.mask) {
      mask = Tensor::empty(c.mask == 1 ? Shape{c.tq, c.tk} : Shape{c.n, c.tq, c.tk}, DType::u8);
      for (int64_t i = 0; i < mask.numel(); ++i) {
        const int64_t query = i / c.tk % c.tq, key = i % c.tk;
        // The first query sees nothing, the second only the last key, others all but a few.
        mask.data<uint8_t>()[i] = query == 0   ? 0
                                  : query == 1 ? key == c.tk - 1
                                               : (query * 7 + key + i / c.tk / c.tq) % 5 != 0;
      }
    }
    const AttentionParams params{c.heads, c.scale};
    const auto run = [&](const Tensor& kv, const Tensor& alone, const Tensor& m, DType dtype, Device device) {
      const auto part = [&](int64_t i) { return kv.slice(2, i * wide, (i + 1) * wide).view(); };
      const AttentionInputs in{parts == 3 ? part(2) : alone.view(), part(0), part(1),
                               c.mask ? m.view() : View{}};
      const Shape keys{c.n, c.tk, wide};
      const Tensor o = Tensor::zeros(other.shape(), dtype, device);
      const Tensor lse =
          Tensor::zeros({c.n, c.heads, c.tq}, dtype == DType::f64 ? DType::f64 : DType::f32, device);
      const Tensor workspace =
          device == Device::cpu
              ? Tensor::empty({attention_forward_workspace_bytes(params, other.shape(), keys, dtype)},
                              DType::u8)
              : Tensor::empty({0}, DType::u8);
      attention_forward(params, in, o.view(), lse.view(), workspace.view());
      return std::pair{to_device(o, Device::cpu).to(host()), to_device(lse, Device::cpu)};
    };
    const auto there = [&](const Tensor& t) { return to_device(t.to(GetParam()), Device::cuda); };
    const auto [o, lse] = run(first, other, mask, host(), Device::cpu);
    const auto [found, found_lse] = run(
        there(first), there(other), c.mask ? to_device(mask, Device::cuda) : mask, GetParam(), Device::cuda);
    const double tolerance = GetParam() == DType::f64 ? 1e-12 : GetParam() == DType::f32 ? 1e-5 : 1e-2;
    EXPECT_LE(max_error(found, o), tolerance);
    const std::vector<double> a = found_lse.to_vector(), b = lse.to_vector();
    for (size_t i = 0; i < a.size(); ++i)
      if (std::isinf(b[i]))
        EXPECT_EQ(a[i], b[i]) << i;
      else
        EXPECT_NEAR(a[i], b[i], tolerance * std::max(1.0, std::abs(b[i]))) << i;
  }
};

TEST_P(CudaAttention, MatchesTheCpu) {
  for (const Case& c : {Case{2, 16, 16, 2, 16},
                        {1, 64, 64, 1, 64},
                        {1, 65, 65, 2, 32},
                        {2, 33, 130, 1, 20},
                        {1, 100, 7, 3, 5},
                        {1, 1, 1, 1, 1},
                        {1, 200, 200, 1, 64},
                        {1, 70, 70, 1, 128},
                        {2, 40, 40, 2, 64, 1},
                        {2, 40, 150, 2, 30, 2},
                        {1, 30, 90, 1, 80, 2},
                        {1, 50, 50, 1, 33, 0, 0.3},
                        {1, 90, 140, 1, 64, 1, 2},
                        {2, 33, 90, 2, 72},
                        {1, 20, 20, 1, 256},
                        {1, 66, 66, 2, 40, 0, 0.7}})
    expect_same(c, 1);
}

TEST_P(CudaAttention, LargeScores) {
  // Scores of some hundred: each tile's largest takes over from the one before.
  expect_same({1, 40, 200, 1, 64}, GetParam() == DType::f32 || GetParam() == DType::f64 ? 8 : 3);
}

TEST_P(CudaAttention, ANanReachesItsQueriesAlone) {
  Tensor q = Tensor::full({1, 40, 32}, 0.5).to(DType::f32);
  q.data<float>()[3 * 32 + 5] = NAN;
  const Tensor there = to_device(q.to(GetParam()), Device::cuda),
               kv = to_device(Tensor::full({1, 40, 32}, 0.5).to(GetParam()), Device::cuda);
  const Tensor o = Tensor::zeros({1, 40, 32}, GetParam(), Device::cuda);
  const Tensor lse =
      Tensor::zeros({1, 1, 40}, GetParam() == DType::f64 ? DType::f64 : DType::f32, Device::cuda);
  attention_forward({1}, {there.view(), kv.view(), kv.view(), {}}, o.view(), lse.view(), {});
  const std::vector<double> values = to_device(o, Device::cpu).to_vector();
  for (int64_t i = 0; i < o.numel(); ++i)
    EXPECT_EQ(std::isnan(values[static_cast<size_t>(i)]), i / 32 == 3) << i;
}

// How much is queued for a head of d channels and t tokens.
int64_t nodes(DType dtype, int64_t t, int64_t d) {
  const Tensor qkv = Tensor::zeros({2, t, 3 * d}, dtype, Device::cuda);
  const Tensor o = Tensor::zeros({2, t, d}, dtype, Device::cuda);
  const Tensor lse = Tensor::zeros({2, 1, t}, dtype == DType::f64 ? DType::f64 : DType::f32, Device::cuda);
  const auto part = [&](int64_t i) { return qkv.slice(2, i * d, (i + 1) * d); };
  const Tensor q = part(0), k = part(1), v = part(2);
  const auto body = [&] {
    attention_forward({1}, {q.view(), k.view(), v.view(), {}}, o.view(), lse.view(), {});
  };
  body();
  CudaGraph graph;
  graph.capture(body);
  return graph.nodes();
}

// One launch (cuDNN's may have a workspace) instead of three with scores in scratch memory, which 84 channels
// still take.
TEST_P(CudaAttention, NetworksTakeOneLaunch) {
  if (GetParam() == DType::f64) return;
  EXPECT_EQ(nodes(GetParam(), 64, 64), 1);
  const int64_t three = nodes(GetParam(), 80, 84);
  EXPECT_LT(nodes(GetParam(), 80, 64), three);
  const int64_t wide = nodes(GetParam(), 80, 256);
  EXPECT_EQ(wide < three, dtype_size(GetParam()) == 2);
}

INSTANTIATE_TEST_SUITE_P(, CudaAttention, testing::Values(DType::f32, DType::f64, DType::bf16, DType::f16),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

}  // namespace
}  // namespace tw::kernels
