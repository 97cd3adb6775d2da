// The tape itself: accumulation, targets, what is freed when, and errors.
#include "autograd/tape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "autograd/ops/activation.h"
#include "autograd/ops/binary.h"
#include "autograd/ops/concat.h"
#include "autograd/ops/reshape.h"
#include "autograd/ops/sum.h"
#include "autograd/ops/unary.h"
#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

using testing::ElementsAre;

Var leaf(std::vector<double> values) { return Var::leaf(Tensor::from(values)); }

template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// An op that counts how often its backward ran and was asked for each input.
Var counting(const Var& a, const Var& b, int& runs, int (&asked)[2]) {
  return record("counting", a.value().clone(), {a, b}, [&](const Tensor& dy, Gradients& grads) {
    ++runs;
    for (int i : {0, 1})
      if (grads.wanted(i)) {
        ++asked[i];
        grads.add(i, dy);
      }
  });
}

TEST(Backward, SumsOverEveryUseOfAVar) {
  Var x = leaf({1, 2});
  Var y = x;
  for (int i = 0; i < 20; ++i) y = y + x;
  backward(sum(y * x));  // 21 x^2
  EXPECT_THAT(x.grad().to_vector(), ElementsAre(42, 84));
}

TEST(Backward, ADiamondAsksEachNodeOnce) {
  int runs = 0, asked[2] = {};
  Var x = leaf({3});
  Var middle = counting(x, x, runs, asked);
  backward(middle * middle + middle);
  EXPECT_EQ(runs, 1);
  EXPECT_THAT(x.grad().to_vector(), ElementsAre(2 * 7));
}

TEST(Backward, AccumulatesAcrossCallsUntilCleared) {
  Var x = leaf({1, 2});
  for (int i = 1; i <= 3; ++i) {
    backward(sum(square(x)));
    EXPECT_THAT(x.grad().to_vector(), ElementsAre(2. * i, 4. * i));
  }
  const Tensor kept = x.grad();  // somebody looks at the gradient: it must not change under them
  backward(sum(x));
  EXPECT_THAT(kept.to_vector(), ElementsAre(6, 12));
  EXPECT_THAT(x.grad().to_vector(), ElementsAre(7, 13));
  x.clear_grad();
  EXPECT_FALSE(x.grad().defined());
}

TEST(Backward, LeavesDoNotShareTheirGradients) {
  Var x = leaf({1, 2}), y = leaf({3, 4});
  const Tensor seed = Tensor::full({2}, 1, DType::f64);
  backward(x + y, seed);
  x.mutable_grad().fill(9);
  EXPECT_THAT(y.grad().to_vector(), ElementsAre(1, 1));
  EXPECT_THAT(seed.to_vector(), ElementsAre(1, 1));
  Var z = leaf({1, 2, 3});
  backward(sum(z));  // the gradient of a sum is one number broadcast
  EXPECT_TRUE(z.grad().is_contiguous());
}

TEST(Backward, OfALeafIsItsSeed) {
  Var x = leaf({5});
  backward(x);
  EXPECT_THAT(x.grad().to_vector(), ElementsAre(1));
}

TEST(Backward, GivesFrozenParametersNothing) {
  int runs = 0, asked[2] = {};
  Var x = leaf({1}), w = leaf({2});
  w.set_requires_grad(false);
  backward(counting(x, w, runs, asked));
  EXPECT_EQ(asked[0], 1);
  EXPECT_EQ(asked[1], 0) << "decided when it was recorded";
  EXPECT_FALSE(w.grad().defined());
  EXPECT_FALSE(square(w).requires_grad());
  w.set_requires_grad(true);
  EXPECT_TRUE(square(w).requires_grad());
}

TEST(Backward, FreesWhatANodeSavedAsSoonAsItRan) {
  Var x = leaf({1, 2});
  std::weak_ptr<Storage> first, second;
  bool second_was_freed = false;
  Var a = record("first", x.value().clone(), {x}, [&](const Tensor& dy, Gradients& grads) {
    second_was_freed = second.expired();
    grads.add(0, dy);
  });
  Tensor kept = Tensor::full({100}, 1);
  second = kept.storage();
  Var b = record("second", a.value().clone(), {a},
                 [saved = Saved(kept)](const Tensor& dy, Gradients& grads) { grads.add(0, dy); });
  kept = Tensor();
  EXPECT_FALSE(second.expired());
  backward(sum(b), {}, /*keep_tape=*/true);
  EXPECT_FALSE(second.expired());
  EXPECT_FALSE(second_was_freed);
  backward(sum(b));
  EXPECT_TRUE(second_was_freed);
  EXPECT_THAT(x.grad().to_vector(), ElementsAre(2, 2));
}

TEST(Backward, ResultsThatNobodyNeedsDieWithTheirVar) {
  Var x = leaf({1, 2});
  std::weak_ptr<Storage> middle;
  Var y;
  {
    Var sums = x + x;  // neither add nor scale saves anything
    middle = sums.value().storage();
    y = scale(sums, 3);
  }
  EXPECT_TRUE(middle.expired());
  backward(sum(y));
  EXPECT_THAT(x.grad().to_vector(), ElementsAre(6, 6));
}

TEST(Backward, ASecondOneThroughAFreedTapeSaysSo) {
  Var x = leaf({1});
  Var y = square(x);
  backward(y);
  EXPECT_EQ(
      error_of([&] { backward(y); }),
      "backward: the tape of 'square' was freed by an earlier backward; pass keep_tape to the first one");
  Var z = square(x);
  backward(z, {}, /*keep_tape=*/true);
  EXPECT_NO_THROW(backward(z));
}

TEST(Backward, NoticesThatASavedTensorWasChanged) {
  Var x = leaf({1, 2});
  Var y = square(x);
  x.mutable_value().fill(3);
  EXPECT_THAT(error_of([&] { backward(sum(y)); }), testing::HasSubstr("changed in place"));
  Var z = scale(x, 2);  // saves nothing, so nothing can go wrong
  x.mutable_value().fill(4);
  EXPECT_NO_THROW(backward(sum(z)));
}

TEST(Backward, ErrorsOfMisuse) {
  Var x = leaf({1, 2});
  EXPECT_EQ(error_of([&] { backward(Var(Tensor::full({1}, 1))); }),
            "backward: the output depends on nothing that wants a gradient");
  EXPECT_EQ(error_of([&] { backward(square(x)); }),
            "backward: the output (2,) is not a single number: give a seed of its shape");
  EXPECT_EQ(error_of([&] { backward(square(x), Tensor::full({3}, 1)); }),
            "backward: the seed is (3,), the output (2,)");
  EXPECT_THAT(error_of([&] { square(x).set_requires_grad(false); }), testing::HasSubstr("not a leaf"));
  EXPECT_THAT(error_of([&] { square(x).grad(); }), testing::HasSubstr("only leaves keep a gradient"));
  EXPECT_THAT(error_of([&] { Var(Tensor::empty({2}, DType::i32)).set_requires_grad(true); }),
              testing::HasSubstr("i32"));
  EXPECT_THAT(error_of([&] { Var().value(); }), testing::HasSubstr("undefined"));
  Var wrong = record("wrong", x.value(), {x},
                     [](const Tensor&, Gradients& grads) { grads.add(0, Tensor::zeros({5}, DType::f64)); });
  EXPECT_EQ(error_of([&] { backward(sum(wrong)); }), "wrong: gradient of input 0 is (5,), the input is (2,)");
}

TEST(Backward, CastsTheSeedToTheOutput) {
  Var x = Var::leaf(random_tensor({3}, DType::bf16));
  backward(scale(x, 2), Tensor::full({3}, 1));
  EXPECT_EQ(x.grad().dtype(), DType::bf16);
}

TEST(Backward, KeepsTheWiderOfTwoGradientTypes) {
  Var x = Var::leaf(Tensor::full({2}, 1));
  Var mixed = record("mixed", Tensor::zeros({2}), {x, x}, [](const Tensor& dy, Gradients& grads) {
    grads.add(0, dy.to(DType::bf16));
    grads.add(1, dy);
    grads.add(1, dy.to(DType::bf16));
  });
  backward(mixed, Tensor::full({2}, 1));
  EXPECT_EQ(x.grad().dtype(), DType::f32);
  EXPECT_THAT(x.grad().to_vector(), ElementsAre(3, 3));
}

TEST(Backward, ADeepChainNeedsNoStack) {
  constexpr int depth = 200000;
  Var x = leaf({1});
  {
    Var y = x;
    for (int i = 0; i < depth; ++i) y = add_scalar(y, 1);
    backward(y);
  }
  EXPECT_THAT(x.grad().to_vector(), ElementsAre(1));
  {
    Var y = x;
    for (int i = 0; i < depth; ++i) y = add_scalar(y, 1);
  }  // destroyed without a backward pass
  {
    // A chain through captured Vars instead of inputs.
    Var y = x;
    for (int i = 0; i < depth; ++i)
      y = record("capturing", y.value(), {x}, [y](const Tensor&, Gradients&) {});
  }
}

TEST(Grad, OfSeveralOutputsWithRespectToLeavesAndResults) {
  Var x = leaf({2}), y = leaf({3});
  Var product = x * y, difference = x - y, unrelated = square(y);
  const auto g = grad({square(product), difference}, {x, product, y, x},
                      {Tensor::full({1}, 1, DType::f64), Tensor::full({1}, 10, DType::f64)});
  EXPECT_EQ(g[0].item(), 2 * 6 * 3 + 10);
  EXPECT_EQ(g[1].item(), 2 * 6);
  EXPECT_EQ(g[2].item(), 2 * 6 * 2 - 10);
  EXPECT_EQ(g[3].item(), g[0].item());
  EXPECT_FALSE(x.grad().defined()) << "grad() touches no leaf";
}

TEST(Grad, OfAnOutputWithRespectToItself) {
  Var x = leaf({2});
  EXPECT_EQ(grad({x}, {x})[0].item(), 1);
  Var y = square(x);
  EXPECT_EQ(grad({y}, {y})[0].item(), 1);
}

TEST(Grad, VisitsOnlyThePathAndAsksForNothingElse) {
  int runs = 0, asked[2] = {}, below_runs = 0, below_asked[2] = {};
  Var x = leaf({1}), w = leaf({2}), deep = leaf({4});
  Var below = counting(deep, deep, below_runs, below_asked);
  Var y = counting(x, w, runs, asked) + below;
  grad({y}, {x}, {}, /*keep_tape=*/true);
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(asked[0], 1);
  EXPECT_EQ(asked[1], 0);
  EXPECT_EQ(below_runs, 0);
  grad({y}, {below});
  EXPECT_EQ(below_runs, 0) << "a target's own backward is not run";
  EXPECT_NO_THROW(backward(below)) << "nor freed";
}

TEST(Grad, ErrorsNameThePosition) {
  Var x = leaf({2}), other = leaf({3});
  EXPECT_EQ(error_of([&] {
              grad({square(x)}, {x, other});
            }),
            "grad: there is no path from the outputs to input 1");
  EXPECT_EQ(error_of([&] { grad({square(x)}, {Var(x.value())}); }),
            "grad: input 0 does not want a gradient (see requires_grad)");
  EXPECT_EQ(error_of([&] {
              grad({square(x), Var(x.value())}, {x});
            }),
            "grad: output 1 depends on nothing that wants a gradient");
  EXPECT_EQ(error_of([&] {
              grad({square(x)}, {x}, {Tensor::zeros({1}), Tensor::zeros({1})});
            }),
            "grad: 2 seeds given for 1 outputs");
  EXPECT_THAT(error_of([&] { grad({square(x)}, {}); }), testing::HasSubstr("0 inputs"));
}

TEST(Grad, InThreadsThatShareParameters) {
  const Var w = Var::leaf(random_tensor({50}, DType::f64));
  std::vector<std::thread> threads;
  std::vector<double> results(4);
  for (size_t i = 0; i < results.size(); ++i)
    threads.emplace_back([&, i] {
      for (int repeat = 0; repeat < 20; ++repeat) {
        Var x = Var::leaf(Tensor::full({50}, static_cast<double>(i), DType::f64));
        Var y = x;
        for (int k = 0; k < 30; ++k) y = y + w * x;
        results[i] = grad({sum(y)}, {w, x})[0].to_vector()[7];
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i], 30. * static_cast<double>(i));
}

TEST(NoGradScope, RecordsNothingAndNests) {
  Var x = leaf({1});
  {
    NoGrad outer;
    {
      NoGrad inner;
      EXPECT_FALSE(square(x).requires_grad());
    }
    EXPECT_FALSE(grad_enabled());
    EXPECT_FALSE(square(x).requires_grad());
    std::thread([&] { EXPECT_TRUE(square(x).requires_grad()) << "the scope is the thread's own"; }).join();
  }
  EXPECT_TRUE(square(x).requires_grad());
}

TEST(Detach, CutsTheTape) {
  Var x = leaf({3});
  Var y = square(x).detach() * x;
  backward(y);
  EXPECT_THAT(x.grad().to_vector(), ElementsAre(9));
}

// The check itself must be able to fail.
TEST(GradientCheck, FindsAWrongGradient) {
  const Tensor x = random_tensor({3}, DType::f64);
  const auto doubled = check_gradients(
      [](const std::vector<Var>& in) {
        return record("doubled", in[0].value().clone(), {in[0]}, [](const Tensor& dy, Gradients& grads) {
          grads.add(0, dy);
          grads.add(0, dy);
        });
      },
      {x});
  EXPECT_GT(doubled.max_error, 0.1);
  EXPECT_THAT(doubled.worst, testing::HasSubstr("input 0"));
  EXPECT_THROW(check_gradients([](const std::vector<Var>& in) { return in[0]; }, {random_tensor({3})}),
               Error);
}

}  // namespace
}  // namespace tw
