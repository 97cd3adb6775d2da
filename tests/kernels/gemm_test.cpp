#include "kernels/op/gemm.h"

#include <gtest/gtest.h>

#include "tests/kernels/every_isa.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

using kernels::GemmParams;
using GemmTest = EveryIsa;

Tensor scratch(int64_t bytes) { return Tensor::empty({bytes}, DType::u8); }

// alpha op(a) op(b) + bias + residual in f64; b has a's rank or rank 2.
Tensor naive(const GemmParams& p, const Tensor& a, const Tensor& b, const Tensor& bias,
             const Tensor& residual) {
  const Tensor left = (p.transpose_a ? a.permute({0, 2, 1}) : a).contiguous();
  const Tensor whole = b.rank() == 2 ? b.unsqueeze(0).broadcast_to({a.dim(0), b.dim(0), b.dim(1)}) : b;
  const Tensor right = (p.transpose_b ? whole.permute({0, 2, 1}) : whole).contiguous();
  const int64_t n = left.dim(0), m = left.dim(1), k = left.dim(2), j_end = right.dim(2);
  const std::vector<double> A = left.to_vector(), B = right.to_vector();
  std::vector<double> C(static_cast<size_t>(n * m * j_end));
  for (int64_t s = 0; s < n; ++s)
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < j_end; ++j) {
        double sum = 0;
        for (int64_t l = 0; l < k; ++l)
          sum +=
              A[static_cast<size_t>((s * m + i) * k + l)] * B[static_cast<size_t>((s * k + l) * j_end + j)];
        C[static_cast<size_t>((s * m + i) * j_end + j)] = sum * p.alpha;
      }
  if (bias.defined())
    for (size_t i = 0; i < C.size(); ++i) C[i] += bias.to_vector()[i % static_cast<size_t>(j_end)];
  if (residual.defined())
    for (size_t i = 0; i < C.size(); ++i) C[i] += residual.to_vector()[i];
  return Tensor::from(C, {n, m, j_end});
}

void check_all(DType dtype, double tolerance) {
  struct Size {
    int64_t batch, m, n, k;
  };
  for (const Size& s : {Size{1, 1, 1, 1}, Size{2, 13, 33, 17}, Size{5, 7, 16, 64}, Size{1, 50, 70, 40},
                        Size{3, 4, 5, 2000}, Size{1, 97, 3, 33}, Size{2, 3, 4, 0}})
    for (bool ta : {false, true})
      for (bool tb : {false, true})
        for (bool one_b : {false, true}) {
          SCOPED_TRACE(testing::Message() << s.batch << " x " << s.m << " x " << s.n << " x " << s.k << " "
                                          << ta << tb << one_b);
          const GemmParams params{ta, tb, 0.5};
          const Tensor a = random_tensor(ta ? Shape{s.batch, s.k, s.m} : Shape{s.batch, s.m, s.k}, dtype, 1);
          const Shape whole = tb ? Shape{s.batch, s.n, s.k} : Shape{s.batch, s.k, s.n};
          const Tensor b = random_tensor(one_b ? Shape{whole[1], whole[2]} : whole, dtype, 2);
          const Tensor bias = random_tensor({s.n}, dtype, 3),
                       residual = random_tensor({s.batch, s.m, s.n}, dtype, 4);
          const Tensor c = Tensor::full({s.batch, s.m, s.n}, 77, dtype);
          const Tensor space =
              scratch(kernels::gemm_workspace_bytes(params, a.shape(), b.shape(), a.dtype()));
          kernels::gemm(params, a.view(), b.view(), {bias.view(), residual.view()}, c.view(), space.view());
          EXPECT_LE(max_error(c, naive(params, a, b, bias, residual)), tolerance);
        }
}

TEST_P(GemmTest, F32MatchesTheFormula) { check_all(DType::f32, 3e-6); }
TEST_P(GemmTest, Bf16MatchesTheFormula) { check_all(DType::bf16, 4e-3); }
TEST_P(GemmTest, F64MatchesTheFormula) { check_all(DType::f64, 1e-12); }

// q k^T of one head out of a packed (n, t, 3c), written into a slice of a larger array.
TEST_P(GemmTest, StridedSlicesWorkInPlaceOfContiguousMatrices) {
  const Tensor qkv = random_tensor({2, 9, 60}, DType::f32, 1);
  const Tensor q = qkv.slice(2, 4, 14), k = qkv.slice(2, 24, 34);
  const Tensor whole = Tensor::full({2, 9, 20}, 77), c = whole.slice(2, 5, 14);
  const GemmParams params{.transpose_b = true};
  const Tensor space = scratch(kernels::gemm_workspace_bytes(params, q.shape(), k.shape(), q.dtype()));
  kernels::gemm(params, q.view(), k.view(), {}, c.view(), space.view());
  EXPECT_LE(max_error(c, naive(params, q, k, {}, {})), 3e-6);
  const std::vector<double> all = whole.to_vector();
  for (size_t i = 0; i < all.size(); ++i)
    ASSERT_TRUE((i % 20 >= 5 && i % 20 < 14) || all[i] == 77) << "wrote outside of the slice at " << i;
}

TEST_P(GemmTest, OuterProductAndSumMatchTheFormula) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f64})
    for (int64_t rows : {1, 30, 700}) {
      const Tensor a = random_tensor({rows, 21}, dtype, 1), b = random_tensor({rows, 35}, dtype, 2);
      const DType out = dtype == DType::f64 ? DType::f64 : DType::f32;
      const Tensor c = Tensor::full({21, 35}, 77, out), sum = Tensor::full({35}, 77, out);
      const Tensor space = scratch(kernels::gemm_outer_workspace_bytes(a.shape(), b.shape()));
      kernels::gemm_outer(a.view(), b.view(), c.view(), sum.view(), space.view());
      const Tensor expected = naive({.transpose_a = true}, a.unsqueeze(0), b.unsqueeze(0), {}, {});
      EXPECT_LE(max_error(c, expected.reshape({21, 35})), 1e-6);
      const Tensor ones = Tensor::full({1, rows, 1}, 1, DType::f64);
      EXPECT_LE(max_error(sum, naive({.transpose_a = true}, ones, b.unsqueeze(0), {}, {}).reshape({35})),
                1e-6);
    }
}

TEST(Gemm, ErrorsNameWhatIsWrong) {
  const auto message = [](const auto& f) -> std::string {
    try {
      f();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message([] {
              kernels::gemm_output_shape({}, {2, 3}, {4, 5});
            }),
            "gemm: a (2, 3) has inner extent 3, b (4, 5) has 4");
  EXPECT_EQ(message([] {
              kernels::gemm_output_shape({}, {2, 3, 4}, {3, 4, 5});
            }),
            "gemm: the leading extents of a (2, 3, 4) and b (3, 4, 5) must be equal, or b have rank 2");
  EXPECT_EQ(message([] {
              kernels::gemm_output_shape({}, {3}, {3, 4});
            }),
            "gemm: a (3,) and b (3, 4) must have rank 2 or more");
}

INSTANTIATE_TEST_SUITE_P(Isa, GemmTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
