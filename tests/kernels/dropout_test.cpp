#include "kernels/op/dropout.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/kernels/every_isa.h"
#include "tests/kernels/thread_counts.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

Tensor run(const Tensor& x, double p, const RandomKey& key) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  kernels::dropout({.p = p, .key = key}, x.view(), y.view());
  return y;
}

class DropoutTest : public EveryIsa {};

TEST_P(DropoutTest, MatchesTheFormula) {
  const RandomKey key{.seed = 3, .sample = 10, .step = 7};
  for (int64_t each : {1, 3, 63, 64, 65, 4096, 5001})
    for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      const Tensor x = random_tensor({3, each}, dtype, 1);
      const auto in = x.to_vector();
      std::vector<double> expected;
      for (uint64_t i = 0; i < 3; ++i) {
        const RandomStream stream = random_stream({3, 10 + i, 7, Purpose::dropout});
        for (uint64_t k = 0; k < static_cast<uint64_t>(each); ++k) {
          const float u = uniform_of_word(random_block(stream, k / 4).word[k % 4]);
          expected.push_back(u >= 0.3f ? in[expected.size()] / 0.7 : 0);
        }
      }
      EXPECT_LE(max_error(run(x, 0.3, key), Tensor::from(expected, x.shape())), dtype == DType::f64   ? 1e-15
                                                                                : dtype == DType::f32 ? 2e-7
                                                                                                      : 4e-3);
    }
}

TEST_P(DropoutTest, DoesNotDependOnTheThreadCountOrTheBatch) {
  const Tensor x = random_tensor({4, 5, 37, 41});
  expect_same_with_two_threads([&] { return run(x, 0.5, {.seed = 1}); });
  const Tensor all = run(x, 0.5, {.seed = 1}), one = run(x.slice(0, 2, 3), 0.5, {.seed = 1, .sample = 2});
  EXPECT_EQ(std::memcmp(one.data<float>(), all.slice(0, 2, 3).data<float>(), one.nbytes()), 0);
}

TEST(Dropout, KeepsTheMeanAndTheRate) {
  const Tensor y = run(Tensor::full({10, 10000}, 1), 0.25, {.seed = 5});
  double sum = 0, zeros = 0;
  for (double v : y.to_vector()) {
    sum += v;
    zeros += v == 0;
  }
  EXPECT_NEAR(zeros / 1e5, 0.25, 0.007);  // five standard deviations
  EXPECT_NEAR(sum / 1e5, 1, 0.01);
  EXPECT_NE(y.to_vector(), run(Tensor::full({10, 10000}, 1), 0.25, {.seed = 6}).to_vector());
}

TEST(Dropout, RefusesProbabilitiesOutOfRange) {
  const Tensor x = random_tensor({2, 3});
  EXPECT_THROW(run(x, 1, {}), Error);
  EXPECT_THROW(run(x, -0.1, {}), Error);
  EXPECT_THROW(run(x, NAN, {}), Error);
  EXPECT_THROW(run(random_tensor({}), 0.5, {}), Error);
}

INSTANTIATE_TEST_SUITE_P(Isa, DropoutTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
