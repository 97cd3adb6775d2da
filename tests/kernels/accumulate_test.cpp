#include "kernels/op/accumulate.h"

#include <gtest/gtest.h>

#include "tests/kernels/every_isa.h"
#include "tests/kernels/thread_counts.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

class AccumulateTest : public EveryIsa {};

TEST_P(AccumulateTest, AddsAtOddSizesAndStaysInItsBuffer) {
  for (int64_t n : {0, 1, 15, 17, 40001})
    for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      Tensor guarded = Tensor::full({n + 8}, 5, dtype);
      Tensor y = guarded.slice(0, 4, n + 4);
      y.copy_from(random_tensor({n}, dtype, 1));
      const Tensor x = random_tensor({n}, dtype, 2), before = y.clone();
      kernels::accumulate(x.view(), y.view());
      std::vector<double> expected = before.to_vector();
      const std::vector<double> terms = x.to_vector();
      for (size_t i = 0; i < expected.size(); ++i) expected[i] += terms[i];
      EXPECT_LE(max_error(y, Tensor::from(expected, {n})), dtype == DType::bf16 ? 4e-3 : 2e-7);
      EXPECT_EQ(guarded.slice(0, 0, 4).to_vector(), std::vector<double>(4, 5));
      EXPECT_EQ(guarded.slice(0, n + 4, n + 8).to_vector(), std::vector<double>(4, 5));
    }
}

TEST_P(AccumulateTest, DoesNotDependOnTheThreadCount) {
  const Tensor x = random_tensor({100003}, DType::bf16, 1);
  expect_same_with_two_threads([&] {
    Tensor y = random_tensor({100003}, DType::bf16, 2);
    kernels::accumulate(x.view(), y.view());
    return y;
  });
}

INSTANTIATE_TEST_SUITE_P(Isa, AccumulateTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
