#include "autograd/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "autograd/ops/activation.h"
#include "autograd/ops/binary.h"
#include "autograd/ops/sum.h"
#include "autograd/ops/unary.h"
#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

using Vars = std::vector<Var>;

Var leaf(unsigned seed) { return Var::leaf(random_tensor({3, 5}, DType::f64, seed)); }

TEST(Checkpoint, GradientsMatchFiniteDifferences) {
  expect_gradients_match(
      [](const Vars& in) {
        const Var h = checkpoint([](const Vars& v) { return silu(v[0] * v[1]) + square(v[0]); }, in);
        return checkpoint([&](const Vars& v) { return exp(v[0]) * in[1]; }, {scale(h, 0.5)});
      },
      {random_tensor({3, 5}, DType::f64, 1), random_tensor({3, 5}, DType::f64, 2)});
}

// The same network with and without checkpoints, with parameters captured and a captured result.
Var network(const Var& x, const Var& w, const Var& v, bool checkpointed) {
  const Var embedding = silu(w);  // captured by both segments, itself a result that depends on w
  auto first = [=](const Vars& in) { return silu(in[0] * w + embedding); };
  auto second = [=](const Vars& in) { return in[0] * v + in[1] * embedding * w; };
  if (!checkpointed) return sum(square(second({first({x}), x})));
  return sum(square(checkpoint(second, {checkpoint(first, {x}), x})));
}

TEST(Checkpoint, CapturedParametersReceiveTheirGradients) {
  Var x = leaf(1), w = leaf(2), v = leaf(3);
  const auto expected = grad({network(x, w, v, false)}, {x, w, v});
  const auto actual = grad({network(x, w, v, true)}, {x, w, v});
  for (size_t i = 0; i < 3; ++i) EXPECT_LE(max_error(actual[i], expected[i]), 1e-14) << i;
  EXPECT_FALSE(w.grad().defined());

  backward(network(x, w, v, true));
  const Var* leaves[] = {&x, &w, &v};
  for (size_t i = 0; i < 3; ++i) EXPECT_LE(max_error(leaves[i]->grad(), expected[i]), 1e-14) << i;
}

TEST(Checkpoint, GradOfOneParameterOnly) {
  Var x = leaf(1), w = leaf(2), v = leaf(3);
  x.set_requires_grad(false);
  const Tensor expected = grad({network(x, w, v, false)}, {v})[0];
  EXPECT_LE(max_error(grad({network(x, w, v, true)}, {v})[0], expected), 1e-14);
}

TEST(Checkpoint, Nests) {
  Var x = leaf(1), w = leaf(2), v = leaf(3);
  const Tensor expected = grad({network(x, w, v, false)}, {w})[0];
  const Var y = checkpoint([=](const Vars& in) { return network(in[0], w, v, true); }, {x});
  EXPECT_LE(max_error(grad({y}, {w}, {}, /*keep_tape=*/true)[0], expected), 1e-14);
  EXPECT_LE(max_error(grad({y}, {w})[0], expected), 1e-14) << "a kept tape can be walked again";
}

TEST(Checkpoint, KeepsNothingOfTheSegment) {
  Var x = leaf(1), w = leaf(2);
  std::weak_ptr<Storage> inside;
  int runs = 0;
  const Var y = checkpoint(
      [&](const Vars& in) {
        const Var h = in[0] * w;
        inside = h.value().storage();
        ++runs;
        return exp(square(h));  // saves h
      },
      {x});
  EXPECT_TRUE(inside.expired());
  EXPECT_EQ(runs, 1);
  backward(sum(y));
  EXPECT_EQ(runs, 2);
}

TEST(Checkpoint, WithoutGradientsIsAPlainCall) {
  Var x = leaf(1);
  int runs = 0;
  auto f = [&](const Vars& in) {
    ++runs;
    return square(in[0]);
  };
  {
    NoGrad no_grad;
    EXPECT_FALSE(checkpoint(f, {x}).requires_grad());
  }
  x.set_requires_grad(false);
  EXPECT_FALSE(checkpoint(f, {x}).requires_grad());
  EXPECT_EQ(runs, 2);
}

TEST(Checkpoint, PassesThroughInputsAndUndefinedOnes) {
  Var x = leaf(1), w = leaf(2);
  const Tensor ones = Tensor::full({3, 5}, 1, DType::f64);
  EXPECT_EQ(grad({checkpoint([](const Vars& in) { return in[0]; }, {x})}, {x}, {ones})[0].to_vector(),
            ones.to_vector());
  EXPECT_EQ(grad({checkpoint([&](const Vars&) { return w; }, {x})}, {w}, {ones})[0].to_vector(),
            ones.to_vector());
  EXPECT_TRUE(
      checkpoint([](const Vars& in) { return in[1].defined() ? in[1] : in[0]; }, {x, Var()}).requires_grad());
  EXPECT_EQ(
      grad({checkpoint([](const Vars& in) { return in[0] + in[1]; }, {x, x})}, {x}, {ones})[0].to_vector()[0],
      2);
}

TEST(Checkpoint, NoticesAChangedInputAndAnInconstantFunction) {
  Var x = leaf(1), w = leaf(2), v = leaf(3);
  const Var y = checkpoint([](const Vars& in) { return square(in[0]); }, {x});
  x.mutable_value().fill(1);
  EXPECT_THROW(backward(sum(y)), Error);
  bool again = false;
  const Var z = checkpoint([&](const Vars& in) { return in[0] * (std::exchange(again, true) ? v : w); }, {x});
  EXPECT_THROW(backward(sum(z)), Error);
}

}  // namespace
}  // namespace tw
