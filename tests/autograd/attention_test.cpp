#include "autograd/ops/attention.h"

#include <gtest/gtest.h>

#include "tensor/error.h"
#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

using Inputs = std::vector<Var>;

Tensor causal_mask(int64_t tq, int64_t tk) {
  std::vector<uint8_t> allowed;
  for (int64_t i = 0; i < tq; ++i)
    for (int64_t j = 0; j < tk; ++j) allowed.push_back(j <= i);
  return Tensor::from(allowed, {tq, tk});
}

TEST(AttentionGradient, MatchesFiniteDifferences) {
  expect_gradients_match([](const Inputs& in) { return attention(in[0], in[1], in[2], {.heads = 2}); },
                         {random_tensor({2, 5, 6}, DType::f64, 1), random_tensor({2, 7, 6}, DType::f64, 2),
                          random_tensor({2, 7, 6}, DType::f64, 3)});
}

TEST(AttentionGradient, MatchesFiniteDifferencesWithAMask) {
  expect_gradients_match(
      [](const Inputs& in) {
        return attention(in[0], in[1], in[2], {.heads = 1, .scale = 0.7}, causal_mask(35, 35));
      },
      {random_tensor({1, 35, 3}, DType::f64, 1), random_tensor({1, 35, 3}, DType::f64, 2),
       random_tensor({1, 35, 3}, DType::f64, 3)});
}

TEST(AttentionGradient, PackedMatchesFiniteDifferencesAndTheSeparateOp) {
  const Tensor qkv = random_tensor({2, 6, 24}, DType::f64, 1);
  expect_gradients_match([](const Inputs& in) { return attention_packed(in[0], {.heads = 4}); }, {qkv});
  const Var q(qkv.slice(2, 0, 8)), k(qkv.slice(2, 8, 16)), v(qkv.slice(2, 16, 24));
  EXPECT_EQ(attention_packed(Var(qkv), {.heads = 4}).value().to_vector(),
            attention(q, k, v, {.heads = 4}).value().to_vector());
}

TEST(Attention, IsWhatItsBasicOpsMake) {
  for (DType dtype : {DType::f32, DType::f64})
    expect_same_function(
        [](const Inputs& in) { return attention(in[0], in[1], in[2], {.heads = 3}); },
        [](const Inputs& in) { return attention_composed(in[0], in[1], in[2], {.heads = 3}); },
        {random_tensor({2, 17, 12}, dtype, 1), random_tensor({2, 40, 12}, dtype, 2),
         random_tensor({2, 40, 12}, dtype, 3)},
        dtype == DType::f64 ? 1e-12 : 1e-5);
}

TEST(AttentionGradient, OnlyWantedGradientsAreComputedAndTheyDoNotDependOnTheOthers) {
  const std::vector<Tensor> values = {random_tensor({2, 40, 16}, DType::f32, 1),
                                      random_tensor({2, 33, 16}, DType::f32, 2),
                                      random_tensor({2, 33, 16}, DType::f32, 3)};
  const auto gradients = [&](unsigned mask) {
    Inputs in;
    for (size_t i = 0; i < 3; ++i) in.push_back(Var::leaf(values[i], mask & (1u << i)));
    const Var o = attention(in[0], in[1], in[2], {.heads = 2});
    backward(o, random_tensor(o.shape(), DType::f32, 9));
    return std::vector<Tensor>{in[0].grad(), in[1].grad(), in[2].grad()};
  };
  const std::vector<Tensor> all = gradients(7);
  for (unsigned mask = 1; mask < 7; ++mask) {
    const std::vector<Tensor> some = gradients(mask);
    for (size_t i = 0; i < 3; ++i) {
      ASSERT_EQ(some[i].defined(), (mask >> i & 1) == 1) << mask;
      if (!some[i].defined()) continue;
      EXPECT_EQ(some[i].to_vector(), all[i].to_vector()) << mask;
    }
  }
  EXPECT_FALSE(attention(Var(values[0]), Var(values[1]), Var(values[2]), {}).requires_grad());
}

}  // namespace
}  // namespace tw
