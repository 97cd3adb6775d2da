#include "nn/module.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

struct Small : Module {
  Small() : linear(2, 3), norm(3) {
    own = parameter("own", {4}, Initialiser::ones());
    buffer("table", table);
    child("linear", linear);
    child("norm", norm);
  }
  Var own;
  Tensor table = Tensor::zeros({5});
  Linear linear;
  LayerNorm norm;
};

std::vector<std::string> names(const Module& module) {
  std::vector<std::string> all;
  for (const Parameter& p : module.parameters()) all.push_back(p.name);
  return all;
}

TEST(Module, ListsParametersInTheOrderOfRegistration) {
  const Small small;
  EXPECT_THAT(names(small),
              testing::ElementsAre("own", "linear.weight", "linear.bias", "norm.weight", "norm.bias"));
  EXPECT_EQ(small.parameter_count(), 4 + 6 + 3 + 3 + 3);
  ASSERT_EQ(small.buffers().size(), 1u);
  EXPECT_EQ(small.buffers()[0].name, "table");
  EXPECT_EQ(small.buffers()[0].value, &small.table);
}

TEST(Module, ANameCanBeTakenOnce) {
  struct Twice : Module {
    Twice() : a(1, 1), b(1, 1) {
      child("same", a);
      child("same", b);
    }
    Linear a, b;
  };
  EXPECT_THROW(Twice{}, Error);
}

TEST(Module, ModesReachEveryChild) {
  Small small;
  EXPECT_FALSE(small.linear.training());
  small.train();
  EXPECT_TRUE(small.linear.training());
  small.evaluate();
  EXPECT_FALSE(small.linear.training());
  small.freeze();
  for (const Parameter& p : small.parameters()) EXPECT_FALSE(p.value.requires_grad()) << p.name;
  small.freeze(false);
  for (const Parameter& p : small.parameters()) EXPECT_TRUE(p.value.requires_grad()) << p.name;
  small.to(DType::bf16);
  for (const Parameter& p : small.parameters()) EXPECT_EQ(p.value.dtype(), DType::bf16) << p.name;
}

TEST(Module, ClearedGradientsAreGone) {
  Small small;
  small.initialise(1);
  backward(small.linear(Tensor::full({1, 2}, 1)), Tensor::full({1, 3}, 1));
  EXPECT_TRUE(small.linear.weight.grad().defined());
  small.clear_gradients();
  EXPECT_FALSE(small.linear.weight.grad().defined());
}

TEST(Initialiser, DependsOnSeedAndNameOnly) {
  const Initialiser uniform = Initialiser::fan_average(10, 20);
  const auto values = [&](uint64_t seed, const char* name, int64_t n) {
    return initial_values(uniform, {n}, seed, name).to_vector();
  };
  EXPECT_EQ(values(1, "a", 8), values(1, "a", 8));
  EXPECT_NE(values(1, "a", 8), values(2, "a", 8));
  EXPECT_NE(values(1, "a", 8), values(1, "b", 8));
  const auto longer = values(1, "a", 12);
  EXPECT_EQ(std::vector<double>(longer.begin(), longer.begin() + 8), values(1, "a", 8));
}

TEST(Initialiser, HasTheVarianceItPromises) {
  for (const Initialiser& initialiser :
       {Initialiser::fan_average(30, 50), Initialiser::normal(std::sqrt(1 / 40.0))}) {
    double sum = 0, squares = 0, largest = 0;
    const auto values = initial_values(initialiser, {40000}, 3, "w").to_vector();
    for (const double v : values) {
      sum += v;
      squares += v * v;
      largest = std::max(largest, std::abs(v));
    }
    EXPECT_NEAR(sum / 40000, 0, 0.004);
    EXPECT_NEAR(squares / 40000, 1 / 40.0, 0.001);
    EXPECT_GT(largest, 0.25);
  }
  EXPECT_EQ(Initialiser::fan_average(3, 3, 0).kind, Initialiser::Kind::zeros);
}

TEST(Layers, AConvolutionKeepsTheSizeAndAddsItsBias) {
  Conv2d conv(2, 3, 3);
  conv.bias.mutable_value().fill(2);
  conv.weight.mutable_value().fill(0);
  const Tensor y = conv(random_tensor({1, 4, 5, 2})).value();
  EXPECT_EQ(y.shape(), Shape({1, 4, 5, 3}));
  for (const double v : y.to_vector()) EXPECT_EQ(v, 2);
}

TEST(Layers, AFrozenConvolutionFollowsItsWeight) {
  Conv2d conv(2, 3, 3);
  conv.initialise(1);
  conv.freeze();
  const Tensor x = random_tensor({1, 4, 5, 2});
  const auto first = conv(x).value().to_vector();
  conv.weight.mutable_value().copy_from(random_tensor({3, 3, 2, 3}));
  EXPECT_NE(conv(x).value().to_vector(), first) << "packed weights must not outlive a change in place";
  conv.initialise(1);
  EXPECT_EQ(conv(x).value().to_vector(), first) << "nor a replaced tensor";
}

TEST(Layers, VolumesAndTransposedConvolutionsHaveTheirShapes) {
  Conv3d volume(2, 3, 3, {.stride = {2, 1, 1}, .pad_before = {1, 1, 1}, .pad_after = {1, 1, 1}});
  volume.initialise(1);
  EXPECT_EQ(volume(random_tensor({1, 4, 5, 6, 2})).shape(), Shape({1, 2, 5, 6, 3}));
  ConvTranspose2d doubling(2, 3, 2, {.stride_h = 2, .stride_w = 2});
  doubling.initialise(1);
  EXPECT_EQ(doubling(random_tensor({1, 4, 5, 2})).shape(), Shape({1, 8, 10, 3}));
}

TEST(Layers, GroupsMustDivideTheChannels) { EXPECT_THROW(GroupNorm(10, {.groups = 4}), Error); }

}  // namespace
}  // namespace tw
