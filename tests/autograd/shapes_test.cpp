// concat, slice, split, reshape, permute, cast.
#include <gtest/gtest.h>

#include "autograd/ops/concat.h"
#include "autograd/ops/reshape.h"
#include "autograd/ops/unary.h"
#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

TEST(Concat, JoinsAlongEveryDimension) {
  const Tensor a = random_tensor({2, 3, 5}, DType::f32, 1), b = random_tensor({2, 3, 5}, DType::f32, 2);
  for (int dim : {0, 1, 2, -1}) {
    const int axis = dim < 0 ? dim + 3 : dim;
    const Tensor y = concat({Var(a), Var(b), Var(a)}, dim).value();
    const int64_t extent = a.dim(axis);
    EXPECT_EQ(y.shape(), a.shape().with(axis, 3 * extent));
    EXPECT_EQ(y.slice(axis, 0, extent).to_vector(), a.to_vector());
    EXPECT_EQ(y.slice(axis, extent, 2 * extent).to_vector(), b.to_vector());
    EXPECT_EQ(y.slice(axis, 2 * extent, 3 * extent).to_vector(), a.to_vector());
  }
  const Tensor i = Tensor::from(std::vector<int64_t>{1, 2});
  EXPECT_EQ(concat({Var(i), Var(i)}, 0).value().to_vector(), (std::vector<double>{1, 2, 1, 2}));
}

TEST(ConcatGradient, MatchesFiniteDifferences) {
  for (int dim : {0, 1, -1}) {
    Shape other{2, 3, 4};
    other = other.with(dim, 5);
    expect_gradients_match(
        [dim](const std::vector<Var>& in) {
          return square(concat({in[0], in[1], in[0]}, dim));
        },
        {random_tensor({2, 3, 4}, DType::f64, 1), random_tensor(other, DType::f64, 2)});
  }
}

TEST(Concat, RefusesWhatDoesNotFit) {
  EXPECT_THROW(concat({}, 0), Error);
  EXPECT_THROW(concat({Var(random_tensor({2, 3})), Var(random_tensor({3, 3}))}, 1), Error);
  EXPECT_THROW(concat({Var(random_tensor({2})), Var(random_tensor({2}, DType::f64))}, 0), Error);
  EXPECT_THROW(concat({Var(random_tensor({2}))}, 1), Error);
}

TEST(SliceGradient, MatchesFiniteDifferences) {
  for (int dim : {0, 1, -1})
    expect_gradients_match([dim](const std::vector<Var>& in) { return square(slice(in[0], dim, 1, 3)); },
                           {random_tensor({4, 3, 5}, DType::f64, 1)});
  expect_gradients_match(
      [](const std::vector<Var>& in) {
        const std::vector<Var> parts = split(in[0], -1, {2, 1, 4});
        return concat({square(parts[2]), parts[0], scale(parts[1], 3)}, -1);
      },
      {random_tensor({2, 3, 7}, DType::f64, 1)});
}

TEST(Slice, OfTheFirstDimensionSharesStorage) {
  const Var x(random_tensor({4, 3}));
  EXPECT_EQ(slice(x, 0, 1, 3).value().storage(), x.value().storage());
  EXPECT_TRUE(slice(x, 1, 0, 2).value().is_contiguous());
  EXPECT_THROW(slice(x, 0, 3, 5), Error);
  EXPECT_THROW(split(x, 0, {1, 2}), Error);
}

TEST(ReshapeGradient, MatchesFiniteDifferences) {
  expect_gradients_match(
      [](const std::vector<Var>& in) {
        return square(reshape(square(in[0]), std::vector<int64_t>{3, -1}));
      },
      {random_tensor({2, 3, 4}, DType::f64, 1)});
  for (const std::vector<int>& order : std::vector<std::vector<int>>{{2, 0, 1}, {0, 1, 2}, {1, 0, -1}})
    expect_gradients_match([&](const std::vector<Var>& in) { return square(permute(in[0], order)); },
                           {random_tensor({2, 3, 4}, DType::f64, 1)});
}

TEST(Reshape, RefusesWrongSizes) {
  const Var x(random_tensor({2, 3}));
  EXPECT_THROW(reshape(x, Shape{4}), Error);
  EXPECT_THROW(reshape(x, std::vector<int64_t>{-1, -1}), Error);
  EXPECT_THROW(reshape(x, std::vector<int64_t>{4, -1}), Error);
  EXPECT_THROW(permute(x, {0}), Error);
  EXPECT_THROW(permute(x, {0, 0}), Error);
  EXPECT_THROW(permute(x, {0, 2}), Error);
}

TEST(Cast, RoundsAndCastsTheGradientBack) {
  Var x = Var::leaf(random_tensor({3, 17}));
  Var y = cast(x, DType::bf16);
  EXPECT_EQ(y.dtype(), DType::bf16);
  EXPECT_LE(max_error(y.value(), x.value()), 4e-3);
  backward(y, random_tensor({3, 17}, DType::bf16, 3));
  EXPECT_EQ(x.grad().dtype(), DType::f32);
  EXPECT_EQ(x.grad().to_vector(), random_tensor({3, 17}, DType::bf16, 3).to_vector());
  EXPECT_THROW(cast(x, DType::i32), Error);
  EXPECT_EQ(cast(Var(Tensor::full({2}, 2.75)), DType::i32).value().to_vector(), (std::vector<double>{2, 2}));
}

}  // namespace
}  // namespace tw
