#include "autograd/ops/conv2d.h"

#include <gtest/gtest.h>

#include "autograd/ops/linear.h"
#include "kernels/cpu/thread_pool.h"
#include "tests/autograd/gradient_check.h"
#include "tests/kernels/every_isa.h"

namespace tw {
namespace {

struct Case {
  Shape x, w;
  kernels::Conv2dParams params;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {{2, 5, 7, 3}, {3, 3, 3, 5}, kernels::Conv2dParams::same(3)},
      {{1, 8, 8, 33}, {3, 3, 33, 70}, kernels::Conv2dParams::same(3)},
      {{2, 6, 6, 4}, {1, 1, 4, 17}, {}},
      {{2, 8, 9, 5}, {3, 3, 5, 6}, {.stride_h = 2, .stride_w = 2, .pad_bottom = 1, .pad_right = 1}},
      {{1, 9, 11, 2},
       {3, 5, 2, 3},
       {.stride_h = 2, .stride_w = 3, .pad_top = 2, .pad_left = 1, .dilation_h = 2, .dilation_w = 2}},
      {{3, 4, 4, 1}, {4, 4, 1, 1}, {}},
  };
  return all;
}

struct Results {
  Tensor y, dx, dw, db, dtemb, dresidual;
};

Results run(const Case& c, DType dtype) {
  auto input = [&](const Shape& shape, unsigned seed) {
    return Var::leaf(random_tensor(shape, DType::f64, seed).to(dtype));
  };
  const Var x = input(c.x, 1), w = input(c.w, 2), bias = input({c.w[3]}, 3),
            temb = input({c.x[0], c.w[3]}, 4);
  const Shape y_shape = conv2d(x, w, {}, c.params).shape();
  const Var residual = input(y_shape, 5);
  const Var y = conv2d(x, w, {.bias = bias, .temb = temb, .residual = residual}, c.params);
  const std::vector<Tensor> g =
      grad({y}, {x, w, bias, temb, residual}, {random_tensor(y_shape, DType::f64, 6).to(dtype)});
  return {y.value(), g[0], g[1], g[2], g[3], g[4]};
}

using Conv2dTest = EveryIsa;

TEST_P(Conv2dTest, AllPassesMatchF64) {
  for (const Case& c : cases()) {
    const Results exact = run(c, DType::f64), fast = run(c, DType::f32);
    EXPECT_LE(max_error(fast.y, exact.y), 2e-6) << c.x << c.w;
    EXPECT_LE(max_error(fast.dx, exact.dx), 2e-6) << c.x << c.w;
    EXPECT_LE(max_error(fast.dw, exact.dw), 2e-6) << c.x << c.w;
    EXPECT_LE(max_error(fast.db, exact.db), 2e-6) << c.x << c.w;
    EXPECT_LE(max_error(fast.dtemb, exact.dtemb), 2e-6) << c.x << c.w;
    EXPECT_LE(max_error(fast.dresidual, exact.dresidual), 2e-6) << c.x << c.w;
  }
}

TEST_P(Conv2dTest, Bf16IsF32OfTheRoundedInputs) {
  for (const Case& c : cases()) {
    const Results exact = run(c, DType::f64), half = run(c, DType::bf16);
    EXPECT_EQ(half.dw.dtype(), DType::f32);
    EXPECT_LE(max_error(half.y, exact.y), 1.5e-2) << c.x << c.w;
    EXPECT_LE(max_error(half.dx, exact.dx), 1.5e-2) << c.x << c.w;
    EXPECT_LE(max_error(half.dw, exact.dw), 1.5e-2) << c.x << c.w;
  }
}

TEST_P(Conv2dTest, OneThreadAndTwoAgreeBitForBit) {
  const int before = kernels::thread_count();
  for (const Case& c : cases()) {
    kernels::set_thread_count(1);
    const Results one = run(c, DType::f32);
    kernels::set_thread_count(2);
    const Results two = run(c, DType::f32);
    EXPECT_EQ(one.y.to_vector(), two.y.to_vector());
    EXPECT_EQ(one.dx.to_vector(), two.dx.to_vector());
    EXPECT_EQ(one.dw.to_vector(), two.dw.to_vector());
    EXPECT_EQ(one.db.to_vector(), two.db.to_vector());
  }
  kernels::set_thread_count(before);
}

TEST_P(Conv2dTest, ASampleDoesNotDependOnItsBatch) {
  const Tensor x = random_tensor({5, 7, 7, 19}, DType::f32, 7),
               w = random_tensor({3, 3, 19, 21}, DType::f32, 8);
  const Tensor all = conv2d(x, w, {}, kernels::Conv2dParams::same(3)).value();
  for (int64_t i = 0; i < 5; ++i) {
    const Tensor one = conv2d(x.slice(0, i, i + 1), w, {}, kernels::Conv2dParams::same(3)).value();
    EXPECT_EQ(one.to_vector(), all.slice(0, i, i + 1).to_vector());
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, Conv2dTest, every_isa(), isa_test_name);

TEST(Conv2dGradient, MatchesFiniteDifferences) {
  for (const Case& c : cases()) {
    if (c.w.numel() > 1000) continue;
    const Shape y = conv2d(Tensor::zeros(c.x), Tensor::zeros(c.w), {}, c.params).shape();
    expect_gradients_match(
        [&](const std::vector<Var>& in) {
          return conv2d(in[0], in[1], {.bias = in[2], .temb = in[3], .residual = in[4]}, c.params);
        },
        {random_tensor(c.x, DType::f64, 1), random_tensor(c.w, DType::f64, 2),
         random_tensor({c.w[3]}, DType::f64, 3), random_tensor({c.x[0], c.w[3]}, DType::f64, 4),
         random_tensor(y, DType::f64, 5)});
  }
}

TEST(Conv2dGradient, LinearMatchesFiniteDifferences) {
  expect_gradients_match([](const std::vector<Var>& in) { return linear(in[0], in[1], in[2], in[3]); },
                         {random_tensor({2, 3, 4}, DType::f64, 1), random_tensor({4, 5}, DType::f64, 2),
                          random_tensor({5}, DType::f64, 3), random_tensor({2, 3, 5}, DType::f64, 4)});
}

TEST(Conv2dGradient, FrozenWeightsKeepNoActivation) {
  const Var w = Var(random_tensor({3, 3, 4, 4}));
  Var y;
  std::weak_ptr<Storage> activation;
  {
    const Var x = Var::leaf(random_tensor({1, 6, 6, 4}));
    const Var hidden = conv2d(x, w, {}, kernels::Conv2dParams::same(3));
    activation = hidden.value().storage();
    y = conv2d(hidden, w, {}, kernels::Conv2dParams::same(3));
  }
  EXPECT_TRUE(activation.expired()) << "a convolution with frozen weights held on to its input";
}

TEST(Conv2dPacked, TheCacheFollowsTheWeight) {
  const Tensor x = random_tensor({1, 5, 5, 3});
  Tensor w = random_tensor({3, 3, 3, 4});
  PackedWeights packed;
  const auto params = kernels::Conv2dParams::same(3);
  EXPECT_EQ(conv2d(x, w, {}, params, &packed).value().to_vector(),
            conv2d(x, w, {}, params).value().to_vector());
  w.copy_from(random_tensor({3, 3, 3, 4}, DType::f32, 9));
  EXPECT_EQ(conv2d(x, w, {}, params, &packed).value().to_vector(),
            conv2d(x, w, {}, params).value().to_vector());
}

TEST(Conv2dErrors, NameTheOpAndTheShapes) {
  try {
    conv2d(Tensor::zeros({1, 4, 4, 3}), Tensor::zeros({3, 3, 2, 4}), {}, {});
    FAIL() << "channels that do not match were accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "conv2d: x (1, 4, 4, 3) has 3 channels, w (3, 3, 2, 4) expects 2");
  }
}

// The gradients in f32 and bf16 are those in f64, through the fast kernels.
TEST(Conv2dGradient, EveryDtypeAgreesWithF64) {
  const kernels::Conv2dParams params = kernels::Conv2dParams::same(3);
  const std::vector<Tensor> values{
      random_tensor({2, 5, 6, 20}, DType::bf16, 1), random_tensor({3, 3, 20, 18}, DType::bf16, 2),
      random_tensor({18}, DType::bf16, 3), random_tensor({2, 18}, DType::bf16, 4),
      random_tensor({2, 5, 6, 18}, DType::bf16, 5)};
  const Tensor seed = random_tensor({2, 5, 6, 18}, DType::bf16, 6);
  const auto gradients = [&](DType dtype) {
    std::vector<Var> in;
    for (const Tensor& value : values) in.push_back(Var::leaf(value.to(dtype)));
    const Var y = conv2d(in[0], in[1], {in[2], in[3], in[4]}, params);
    std::vector<Tensor> result = grad({y}, in, {seed.to(dtype)});
    result.push_back(y.value());
    return result;
  };
  const std::vector<Tensor> exact = gradients(DType::f64), f32 = gradients(DType::f32),
                            half = gradients(DType::bf16);
  for (size_t i = 0; i < exact.size(); ++i) {
    EXPECT_LE(max_error(f32[i], exact[i]), 3e-6) << i;
    EXPECT_LE(max_error(half[i], exact[i]), 6e-3) << i;
  }
  EXPECT_EQ(half[1].dtype(), DType::f32);
  EXPECT_EQ(half[2].dtype(), DType::f32);
  EXPECT_EQ(half[0].dtype(), DType::bf16);
}

TEST(Conv2dGradient, BiasAloneNeedsNoWeightGradient) {
  const Var x(random_tensor({3, 4, 4, 5})), w(random_tensor({1, 1, 5, 33}, DType::f32, 2)),
      bias = Var::leaf(random_tensor({33}));
  const Tensor seed = random_tensor({3, 4, 4, 33}, DType::f32, 3);
  const Var y = conv2d(x, w, {.bias = bias});
  const Tensor db = grad({y}, {bias}, {seed})[0];
  const std::vector<double> g = seed.to_vector(), got = db.to_vector();
  for (size_t c = 0; c < 33; ++c) {
    double sum = 0;
    for (size_t i = c; i < g.size(); i += 33) sum += g[i];
    EXPECT_NEAR(got[c], sum, 1e-5);
  }
}

// What a record holds is seen from the storage's reference count.
TEST(Conv2dGradient, SavesOnlyWhatTheWantedGradientsNeed) {
  const Tensor x = random_tensor({1, 4, 4, 3}), w = random_tensor({3, 3, 3, 4});
  const long x_before = x.storage().use_count(), w_before = w.storage().use_count();
  {
    const Var y = conv2d(Var::leaf(x), Var(w), {}, kernels::Conv2dParams::same(3));
    EXPECT_EQ(x.storage().use_count(), x_before) << "frozen weight: x must not be kept";
    EXPECT_EQ(w.storage().use_count(), w_before + 1);
  }
  {
    const Var y = conv2d(Var(x), Var::leaf(w), {}, kernels::Conv2dParams::same(3));
    EXPECT_EQ(x.storage().use_count(), x_before + 1);
    EXPECT_EQ(w.storage().use_count(), w_before) << "constant x: w must not be kept";
  }
  EXPECT_FALSE(conv2d(Var(x), Var(w), {}, kernels::Conv2dParams::same(3)).requires_grad());
  NoGrad no_grad;
  EXPECT_FALSE(conv2d(Var::leaf(x), Var::leaf(w), {}, kernels::Conv2dParams::same(3)).requires_grad());
}

TEST(PackedWeights, GiveTheSameBitsAndFollowTheWeight) {
  PackedWeights cache;
  const kernels::Conv2dParams params = kernels::Conv2dParams::same(3);
  Tensor w = random_tensor({3, 3, 20, 40}, DType::f32, 2);
  const Var x = Var::leaf(random_tensor({1, 5, 5, 20}));
  const Tensor seed = random_tensor({1, 5, 5, 40}, DType::f32, 3);
  for (int round = 0; round < 3; ++round) {
    if (round == 2) w.copy_from(random_tensor({3, 3, 20, 40}, DType::f32, 9));
    const Var plain = conv2d(x, Var(w), {}, params), cached = conv2d(x, Var(w), {}, params, &cache);
    EXPECT_EQ(plain.value().to_vector(), cached.value().to_vector()) << "round " << round;
    EXPECT_EQ(grad({plain}, {x}, {seed})[0].to_vector(), grad({cached}, {x}, {seed})[0].to_vector());
  }
  const kernels::Conv2dProblem problem{params, x.shape(), w.shape()};
  const void* packed = cache.get(problem, w, kernels::Conv2dPass::forward).view().pointer;
  EXPECT_EQ(cache.get(problem, w, kernels::Conv2dPass::forward).view().pointer, packed) << "packed twice";
}

TEST(Conv2dGradient, AnInPlaceChangeOfASavedWeightIsAnError) {
  Tensor w = random_tensor({1, 1, 3, 4});
  const Var x = Var::leaf(random_tensor({1, 2, 2, 3}));
  const Var y = conv2d(x, Var(w));
  w.fill(0);
  EXPECT_THROW(grad({y}, {x}, {random_tensor({1, 2, 2, 4})}), Error);
}

}  // namespace
}  // namespace tw
