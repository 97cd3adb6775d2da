#include "kernels/op/binary.h"

#include <gtest/gtest.h>

#include "tests/kernels/every_isa.h"
#include "tests/kernels/thread_counts.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

using kernels::Binary;

double naive(Binary kind, double a, double b) {
  switch (kind) {
    case Binary::add:
      return a + b;
    case Binary::sub:
      return a - b;
    case Binary::mul:
      return a * b;
    case Binary::div:
      return a / b;
  }
  return NAN;
}

Tensor naive(Binary kind, const Tensor& a, const Tensor& b) {
  const Shape shape = broadcast_shapes("naive", a.shape(), b.shape());
  const auto va = a.broadcast_to(shape).to_vector(), vb = b.broadcast_to(shape).to_vector();
  std::vector<double> y;
  for (size_t i = 0; i < va.size(); ++i) y.push_back(naive(kind, va[i], vb[i]));
  return Tensor::from(y, shape);
}

Tensor run(Binary kind, const Tensor& a, const Tensor& b) {
  Tensor y = Tensor::empty(broadcast_shapes("test", a.shape(), b.shape()), a.dtype());
  kernels::binary(kind, a.view(), b.view(), y.view());
  return y;
}

class BinaryTest : public EveryIsa {};

TEST_P(BinaryTest, MatchesTheFormulaForAllBroadcasts) {
  const std::vector<std::pair<Shape, Shape>> shapes = {
      {{7}, {7}},
      {{2, 3, 5, 19}, {2, 3, 5, 19}},
      {{2, 3, 5, 19}, {19}},
      {{2, 3, 5, 19}, {2, 1, 1, 19}},
      {{2, 3, 5, 19}, {2, 3, 5, 1}},
      {{2, 1, 1, 19}, {2, 3, 5, 19}},
      {{2, 3, 1, 19}, {1, 3, 5, 1}},
      {{4, 1}, {1, 33}},
      {{2, 3}, {}},
      {{}, {}},
      {{1, 1, 1}, {1}},
      {{0, 3}, {3}},
      {{2, 2, 2, 2, 2, 2}, {2, 1, 2, 1, 2, 1}},
  };
  for (const auto& [sa, sb] : shapes)
    for (Binary kind : {Binary::add, Binary::sub, Binary::mul, Binary::div})
      for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
        SCOPED_TRACE(detail::join(kernels::binary_name(kind), " ", sa, " ", sb, " ", dtype_name(dtype)));
        const Tensor a = random_tensor(sa, dtype, 1), b = random_tensor(sb, DType::f64, 2);
        Tensor away_from_zero = b.clone();
        for (double& v : away_from_zero.span<double>()) v += v < 0 ? -0.5 : 0.5;
        const Tensor divisor = away_from_zero.to(dtype);
        const double tolerance = dtype == DType::f64 ? 1e-15 : dtype == DType::f32 ? 2e-7 : 4e-3;
        EXPECT_LE(max_error(run(kind, a, divisor), naive(kind, a, divisor)), tolerance);
      }
}

TEST_P(BinaryTest, TakesStridedOperands) {
  const Tensor a = random_tensor({5, 37}, DType::f32, 1).permute({1, 0}),
               b = random_tensor({37, 5}).slice(1, 0, 5);
  EXPECT_LE(max_error(run(Binary::mul, a, b), naive(Binary::mul, a, b)), 2e-7);
  const Tensor wide = random_tensor({37, 9}, DType::bf16, 3).slice(1, 2, 7), same = a.to(DType::bf16);
  EXPECT_LE(max_error(run(Binary::sub, same, wide), naive(Binary::sub, same, wide)), 4e-3);
}

TEST_P(BinaryTest, WorksInPlaceAndStaysInItsBuffer) {
  Tensor guarded = Tensor::full({3 + 21 + 3}, 7);
  Tensor inside = guarded.slice(0, 3, 24);
  inside.copy_from(random_tensor({21}));
  const Tensor b = random_tensor({21}, DType::f32, 5), expected = naive(Binary::mul, inside.clone(), b);
  kernels::binary(Binary::mul, inside.view(), b.view(), inside.view());
  EXPECT_LE(max_error(inside, expected), 2e-7);
  for (int64_t i : {0, 1, 2, 24, 25, 26}) EXPECT_EQ(guarded.data<float>()[i], 7) << i;
}

TEST_P(BinaryTest, DoesNotDependOnTheThreadCount) {
  const Tensor a = random_tensor({3, 31, 31, 37}), v = random_tensor({3, 1, 1, 37}, DType::f32, 1);
  expect_same_with_two_threads([&] { return run(Binary::div, a, v); });
}

TEST(Binary, ErrorsNameTheOpAndTheShapes) {
  const Tensor a = random_tensor({2, 3}), b = random_tensor({4});
  Tensor y = Tensor::empty({2, 3});
  try {
    kernels::binary(Binary::add, a.view(), b.view(), y.view());
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "add: shapes (2, 3) and (4,) cannot be broadcast together");
  }
  EXPECT_THROW(kernels::binary(Binary::add, a.view(), a.to(DType::bf16).view(), y.view()), Error);
  EXPECT_THROW(kernels::binary(Binary::add, a.view(), a.view(), Tensor::empty({3, 2}).view()), Error);
  EXPECT_THROW(kernels::binary(Binary::add, {}, a.view(), y.view()), Error);
}

INSTANTIATE_TEST_SUITE_P(Isa, BinaryTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
