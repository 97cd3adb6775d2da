#include "autograd/ops/layer_norm.h"

#include <gtest/gtest.h>

#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

using Inputs = std::vector<Var>;

TEST(LayerNormGradient, MatchesFiniteDifferences) {
  for (const Shape& shape : {Shape{2, 3, 7}, Shape{40, 9}})
    expect_gradients_match(
        [](const Inputs& in) { return layer_norm(in[0], in[1], in[2], 1e-5); },
        {random_tensor(shape, DType::f64, 1, 2), random_tensor({shape.back()}, DType::f64, 2),
         random_tensor({shape.back()}, DType::f64, 3)});
}

TEST(LayerNormGradient, MatchesFiniteDifferencesWithoutAffine) {
  expect_gradients_match([](const Inputs& in) { return layer_norm(in[0], {}, {}, 1e-6); },
                         {random_tensor({4, 6}, DType::f64, 1)});
}

TEST(LayerNormGradient, OnlyWantedGradientsAreComputedAndTheyDoNotDependOnTheOthers) {
  const std::vector<Tensor> values = {random_tensor({70, 18}), random_tensor({18}, DType::f32, 1),
                                      random_tensor({18}, DType::f32, 2)};
  const auto gradients = [&](unsigned mask) {
    Inputs in;
    for (size_t i = 0; i < 3; ++i) in.push_back(Var::leaf(values[i], mask & (1u << i)));
    const Var y = layer_norm(in[0], in[1], in[2], 1e-5);
    backward(y, random_tensor(y.shape(), DType::f32, 9));
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
}

}  // namespace
}  // namespace tw
