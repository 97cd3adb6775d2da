#include "autograd/ops/group_norm_silu.h"

#include <gtest/gtest.h>

#include "autograd/ops/concat.h"
#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

using Inputs = std::vector<Var>;

Tensor f64_tensor(const Shape& shape, unsigned seed, double scale = 1) {
  return random_tensor(shape, DType::f64, seed, scale);
}

TEST(GroupNormGradient, MatchesFiniteDifferencesWithAndWithoutSilu) {
  for (bool silu : {false, true})
    expect_gradients_match(
        [silu](const Inputs& in) {
          return group_norm(in[0], in[1], in[2], {.groups = 3, .eps = 1e-5, .silu = silu});
        },
        {f64_tensor({2, 3, 5, 6}, 1, 2), f64_tensor({6}, 2), f64_tensor({6}, 3)});
}

TEST(GroupNormGradient, MatchesFiniteDifferencesWithScaleAndShift) {
  for (bool silu : {false, true})
    expect_gradients_match(
        [silu](const Inputs& in) {
          return group_norm(in[0], in[1], in[2], {.groups = 2, .eps = 1e-5, .silu = silu}, in[3]);
        },
        {f64_tensor({3, 2, 4, 8}, 1, 2), f64_tensor({8}, 2), f64_tensor({8}, 3), f64_tensor({3, 16}, 4)});
}

TEST(GroupNormGradient, MatchesFiniteDifferencesWithoutAffineAndOnVolumes) {
  expect_gradients_match([](const Inputs& in) { return group_norm(in[0], {}, {}, {.groups = 1}); },
                         {f64_tensor({2, 7, 4}, 1)});
  expect_gradients_match(
      [](const Inputs& in) { return group_norm(in[0], in[1], {}, {.groups = 2, .silu = true}); },
      {f64_tensor({1, 2, 3, 2, 4}, 1), f64_tensor({4}, 2)});
  expect_gradients_match([](const Inputs& in) { return instance_norm(in[0], in[1], in[2]); },
                         {f64_tensor({2, 3, 3, 5}, 1), f64_tensor({5}, 2), f64_tensor({5}, 3)});
}

TEST(GroupNorm, IsWhatItsBasicOpsMake) {
  for (bool silu : {false, true})
    for (DType dtype : {DType::f32, DType::f64}) {
      const kernels::GroupNormParams params{.groups = 4, .eps = 1e-5, .silu = silu};
      expect_same_function(
          [&](const Inputs& in) { return group_norm(in[0], in[1], in[2], params, in[3]); },
          [&](const Inputs& in) { return group_norm_composed(in[0], in[1], in[2], params, in[3]); },
          {random_tensor({2, 5, 7, 12}, dtype, 1), random_tensor({12}, dtype, 2),
           random_tensor({12}, dtype, 3), random_tensor({2, 24}, dtype, 4)},
          dtype == DType::f64 ? 1e-12 : 1e-5);
    }
}

TEST(GroupNormGradient, OnlyWantedGradientsAreComputed) {
  const Var x = Var::leaf(random_tensor({2, 3, 3, 4}));
  const Var gamma(random_tensor({4}, DType::f32, 1)), beta(random_tensor({4}, DType::f32, 2));
  const Var y = group_norm(x, gamma, beta, {.groups = 2, .silu = true});
  backward(y, Tensor::full(y.shape(), 1));
  EXPECT_TRUE(x.grad().defined());
  EXPECT_FALSE(gamma.grad().defined());

  const Var frozen(x.value()), trained = Var::leaf(gamma.value().clone());
  const Var z = group_norm(frozen, trained, beta, {.groups = 2, .silu = true});
  backward(z, Tensor::full(z.shape(), 1));
  EXPECT_TRUE(trained.grad().defined());
  EXPECT_FALSE(group_norm(frozen, gamma, beta, {.groups = 2}).requires_grad());
}

TEST(GroupNormGradient, ARestIsAsIfJoinedWhicheverPartWantsAGradient) {
  const Tensor a = random_tensor({2, 5, 5, 6}), b = random_tensor({2, 5, 5, 10}, DType::f32, 4);
  const Var gamma(random_tensor({16}, DType::f32, 1)), beta(random_tensor({16}, DType::f32, 2));
  const kernels::GroupNormParams params{.groups = 4, .silu = true};
  const Tensor dy = random_tensor({2, 5, 5, 16}, DType::f32, 9);
  const Var one = Var::leaf(a), two = Var::leaf(b);
  backward(group_norm(concat({one, two}, -1), gamma, beta, params), dy);
  for (unsigned mask = 1; mask < 4; ++mask) {
    const Var first = Var::leaf(a, mask & 1), rest = Var::leaf(b, mask & 2);
    backward(group_norm(first, gamma, beta, params, {}, rest), dy);
    if (mask & 1) {
      EXPECT_EQ(first.grad().to_vector(), one.grad().to_vector());
    }
    if (mask & 2) {
      EXPECT_EQ(rest.grad().to_vector(), two.grad().to_vector());
    }
  }
}

// The gradient of one input must be the same bits whichever others are asked for.
TEST(GroupNormGradient, DoesNotDependOnTheOtherGradientsAskedFor) {
  const std::vector<Tensor> values = {random_tensor({2, 5, 5, 8}), random_tensor({8}, DType::f32, 1),
                                      random_tensor({8}, DType::f32, 2),
                                      random_tensor({2, 16}, DType::f32, 3)};
  const auto gradients = [&](unsigned mask) {
    Inputs in;
    for (size_t i = 0; i < values.size(); ++i) in.push_back(Var::leaf(values[i], mask & (1u << i)));
    const Var y = group_norm(in[0], in[1], in[2], {.groups = 4, .silu = true}, in[3]);
    backward(y, random_tensor(y.shape(), DType::f32, 9));
    std::vector<Tensor> result;
    for (const Var& leaf : in) result.push_back(leaf.grad());
    return result;
  };
  const std::vector<Tensor> all = gradients(15);
  for (unsigned mask = 1; mask < 15; ++mask) {
    const std::vector<Tensor> some = gradients(mask);
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(some[i].defined(), (mask >> i & 1) == 1) << "mask " << mask << ", input " << i;
      if (!some[i].defined()) continue;
      EXPECT_EQ(some[i].to_vector(), all[i].to_vector()) << "mask " << mask;
    }
  }
}

}  // namespace
}  // namespace tw
