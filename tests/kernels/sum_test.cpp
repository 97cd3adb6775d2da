#include "kernels/op/sum.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/kernels/every_isa.h"
#include "tests/kernels/thread_counts.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

// Sums over the dimensions set in `mask`.
Shape kept_shape(const Shape& x, unsigned mask) {
  Shape y = x;
  for (int i = 0; i < x.rank(); ++i)
    if (mask >> i & 1) y[i] = 1;
  return y;
}

Tensor naive(const Tensor& x, const Shape& kept, double scale) {
  Tensor y = Tensor::zeros(kept, DType::f64);
  const auto values = x.to_vector();
  const Shape strides = contiguous_strides(x.shape()), out_strides = contiguous_strides(kept);
  for (size_t i = 0; i < values.size(); ++i) {
    int64_t out = 0, rest = static_cast<int64_t>(i);
    for (int k = 0; k < x.rank(); ++k) {
      if (kept[k] != 1) out += rest / strides[k] * out_strides[k];
      rest %= strides[k];
    }
    y.data<double>()[out] += scale * values[i];
  }
  return y;
}

Tensor run(const Tensor& x, const Shape& kept, double scale, DType dtype) {
  Tensor y = Tensor::empty(kept, dtype);
  std::vector<double> workspace(kernels::sum_workspace_bytes(x.view(), kept) / 8 + 1);
  kernels::sum(x.view(), scale, y.view(), workspace.data());
  return y;
}

class SumTest : public EveryIsa {};

TEST_P(SumTest, MatchesANaiveSumOverEverySetOfDimensions) {
  for (const Shape& shape :
       {Shape{2, 5, 3, 7}, Shape{1, 70, 1, 19}, Shape{3, 1, 130, 2}, Shape{2, 3, 2, 3, 2, 3}})
    for (unsigned mask = 0; mask < 1u << shape.rank(); ++mask)
      for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
        SCOPED_TRACE(detail::join(shape, " mask ", mask, " ", dtype_name(dtype)));
        const Tensor x = random_tensor(shape, dtype, mask);
        const Shape kept = kept_shape(shape, mask);
        const DType result = dtype == DType::bf16 ? DType::f32 : dtype;
        EXPECT_LE(max_error(run(x, kept, 0.5, result), naive(x, kept, 0.5)),
                  dtype == DType::f64 ? 1e-13 : 3e-6);
      }
}

TEST_P(SumTest, LongSumsStayAccurate) {
  for (const auto& [shape, mask] : {std::pair<Shape, unsigned>{{100003}, 1},
                                    {{5000, 19}, 1},
                                    {{5000, 19}, 2},
                                    {{5000, 19}, 3},
                                    {{3, 1000, 700}, 2},
                                    {{2, 3, 1500}, 5}}) {
    SCOPED_TRACE(detail::join(shape, " mask ", mask));
    Tensor x = random_tensor(shape, DType::f32, 3);
    for (float& v : x.span<float>()) v += 1;  // errors of one sign would pile up
    const Tensor expected = naive(x, kept_shape(shape, mask), 1);
    EXPECT_LE(max_error(run(x, kept_shape(shape, mask), 1, DType::f32), expected), 5e-7);
  }
}

TEST_P(SumTest, DoesNotDependOnTheThreadCountOrTheBatch) {
  const Tensor x = random_tensor({4, 33, 31, 35});
  for (const Shape& kept : {Shape{4, 1, 1, 35}, Shape{4, 1, 1, 1}, Shape{4, 33, 31, 1}, Shape{4, 1, 31, 1}}) {
    expect_same_with_two_threads([&] { return run(x, kept, 1, DType::f32); });
    const Tensor all = run(x, kept, 1, DType::f32);
    const Tensor one = run(x.slice(0, 2, 3), kept.with(0, 1), 1, DType::f32);
    EXPECT_EQ(std::memcmp(one.data<float>(), all.slice(0, 2, 3).data<float>(), one.nbytes()), 0) << kept;
  }
  expect_same_with_two_threads([&] { return run(x, {1, 1, 1, 1}, 1, DType::f32); });
  expect_same_with_two_threads([&] { return run(x, {1, 1, 1, 35}, 1, DType::f32); });
}

TEST_P(SumTest, OfNothingIsZeroAndBf16IsRoundedOnce) {
  EXPECT_EQ(run(Tensor::empty({0, 3}), {1, 3}, 1, DType::f32).to_vector(), (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(run(Tensor::full({1000}, 1, DType::bf16), {1}, 1, DType::bf16).item(), 1000);
}

TEST(Sum, RefusesWrongShapes) {
  const Tensor x = random_tensor({2, 3});
  EXPECT_THROW(run(x, {2, 2}, 1, DType::f32), Error);
  EXPECT_THROW(kernels::sum(x.view(), 1, Tensor::empty({1}).view(), nullptr), Error);
  EXPECT_THROW(run(x, {1, 3}, 1, DType::f64), Error);
}

INSTANTIATE_TEST_SUITE_P(Isa, SumTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
