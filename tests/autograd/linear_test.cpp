#include "autograd/ops/linear.h"

#include <gtest/gtest.h>

#include "autograd/ops/matmul.h"
#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

TEST(LinearGradient, AllInputsMatchFiniteDifferences) {
  expect_gradients_match([](const std::vector<Var>& in) { return linear(in[0], in[1], in[2], in[3]); },
                         {random_tensor({2, 3, 4}, DType::f64, 1), random_tensor({4, 5}, DType::f64, 2),
                          random_tensor({5}, DType::f64, 3), random_tensor({2, 3, 5}, DType::f64, 4)});
}

TEST(LinearGradient, EveryDtypeAgreesWithF64) {
  const std::vector<Tensor> values{
      random_tensor({3, 7, 33}, DType::bf16, 1), random_tensor({33, 50}, DType::bf16, 2),
      random_tensor({50}, DType::bf16, 3), random_tensor({3, 7, 50}, DType::bf16, 4)};
  const Tensor seed = random_tensor({3, 7, 50}, DType::bf16, 5);
  const auto gradients = [&](DType dtype) {
    std::vector<Var> in;
    for (const Tensor& value : values) in.push_back(Var::leaf(value.to(dtype)));
    const Var y = linear(in[0], in[1], in[2], in[3]);
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
}

TEST(LinearGradient, SavesOnlyWhatTheWantedGradientsNeed) {
  const Tensor x = random_tensor({4, 3}), w = random_tensor({3, 5});
  const long x_before = x.storage().use_count(), w_before = w.storage().use_count();
  {
    const Var y = linear(Var::leaf(x), Var(w));
    EXPECT_EQ(x.storage().use_count(), x_before);
    EXPECT_EQ(w.storage().use_count(), w_before + 1);
  }
  const Var y = linear(Var(x), Var::leaf(w));
  EXPECT_EQ(x.storage().use_count(), x_before + 1);
  EXPECT_EQ(w.storage().use_count(), w_before);
}

TEST(LinearGradient, MismatchedFeaturesAreAnError) {
  try {
    linear(Var(random_tensor({2, 3})), Var(random_tensor({4, 5})));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "linear: x (2, 3) has 3 features, w (4, 5) expects 4");
  }
}

TEST(MatmulGradient, EveryTransposeMatchesFiniteDifferences) {
  for (bool ta : {false, true})
    for (bool tb : {false, true}) {
      SCOPED_TRACE(testing::Message() << "transpose_a " << ta << ", transpose_b " << tb);
      const auto f = [&](const std::vector<Var>& in) { return matmul(in[0], in[1], ta, tb); };
      const Shape a = ta ? Shape{2, 4, 3} : Shape{2, 3, 4}, b = tb ? Shape{2, 5, 4} : Shape{2, 4, 5};
      expect_gradients_match(f, {random_tensor(a, DType::f64, 1), random_tensor(b, DType::f64, 2)});
      expect_gradients_match(f,
                             {random_tensor(a, DType::f64, 1), random_tensor({b[1], b[2]}, DType::f64, 2)});
      expect_gradients_match(
          f, {random_tensor({a[1], a[2]}, DType::f64, 1), random_tensor({b[1], b[2]}, DType::f64, 2)});
    }
}

}  // namespace
}  // namespace tw
