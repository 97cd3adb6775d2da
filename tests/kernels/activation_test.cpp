#include "kernels/op/activation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/every_isa.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

double naive_silu(double x) { return x / (1 + std::exp(-x)); }

using ActivationTest = EveryIsa;

TEST_P(ActivationTest, SiluMatchesTheFormulaAtOddSizes) {
  for (int64_t n : {1, 7, 16, 33, 10007}) {
    Tensor x = random_tensor({n}, DType::f32, /*seed=*/1, /*scale=*/6), y = Tensor::empty({n});
    kernels::activation_forward({.kind = kernels::Activation::silu}, x.view(), y.view());
    for (int64_t i = 0; i < n; ++i) {
      const double expected = naive_silu(x.data<float>()[i]);
      ASSERT_NEAR(y.data<float>()[i], expected, 1e-6 * std::max(1.0, std::abs(expected))) << "at " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, ActivationTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
