#include "kernels/op/avg_pool2d.h"

#include <gtest/gtest.h>

#include "tests/kernels/every_isa.h"
#include "tests/kernels/thread_counts.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

// Calls f(index in the large image, index in the small one) for each element of a window.
template <class F>
void for_each_pair(int64_t k, const Shape& big, const Shape& small, F f) {
  for (int64_t n = 0; n < small[0]; ++n)
    for (int64_t i = 0; i < small[1] * k; ++i)
      for (int64_t j = 0; j < small[2] * k; ++j)
        for (int64_t c = 0; c < small[3]; ++c)
          f(static_cast<size_t>(((n * big[1] + i) * big[2] + j) * big[3] + c),
            static_cast<size_t>(((n * small[1] + i / k) * small[2] + j / k) * small[3] + c));
}

class AvgPool2dTest : public EveryIsa {};

TEST_P(AvgPool2dTest, BothDirectionsMatchTheDefinition) {
  for (int64_t k : {1, 2, 3})
    for (int64_t c : {1, 3, 16, 37})
      for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
        const Shape big{2, 7, 5, c}, small{2, 7 / k, 5 / k, c};
        const Tensor x = random_tensor(big, dtype, 1), dy = random_tensor(small, dtype, 2);
        Tensor y = Tensor::empty(small, dtype), dx = Tensor::full(big, 99, dtype);
        kernels::avg_pool2d_forward(k, x.view(), y.view());
        kernels::avg_pool2d_backward(k, dy.view(), dx.view());
        std::vector<double> ey(static_cast<size_t>(small.numel())), edx(static_cast<size_t>(big.numel()));
        const auto vx = x.to_vector(), vdy = dy.to_vector();
        const double share = 1.0 / static_cast<double>(k * k);
        for_each_pair(k, big, small, [&](size_t b, size_t s) {
          ey[s] += share * vx[b];
          edx[b] += share * vdy[s];
        });
        const double tolerance = dtype == DType::bf16 ? 4e-3 : 1e-6;
        EXPECT_LE(max_error(y, Tensor::from(ey, small)), tolerance);
        EXPECT_LE(max_error(dx, Tensor::from(edx, big)), tolerance);
      }
}

TEST_P(AvgPool2dTest, NearestDoublingMatchesTheDefinition) {
  for (int64_t c : {1, 3, 16, 37})
    for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      const Shape small{2, 3, 5, c}, big{2, 6, 10, c};
      const Tensor x = random_tensor(small, dtype, 1), dy = random_tensor(big, dtype, 2);
      Tensor y = Tensor::empty(big, dtype), dx = Tensor::empty(small, dtype);
      kernels::upsample_nearest2x_forward(x.view(), y.view());
      kernels::upsample_nearest2x_backward(dy.view(), dx.view());
      std::vector<double> ey(static_cast<size_t>(big.numel())), edx(static_cast<size_t>(small.numel()));
      const auto vx = x.to_vector(), vdy = dy.to_vector();
      for_each_pair(2, big, small, [&](size_t b, size_t s) {
        ey[b] = vx[s];
        edx[s] += vdy[b];
      });
      EXPECT_EQ(y.to_vector(), ey);
      EXPECT_LE(max_error(dx, Tensor::from(edx, small)), dtype == DType::bf16 ? 4e-3 : 1e-6);
    }
}

TEST_P(AvgPool2dTest, DoesNotDependOnTheThreadCount) {
  const Tensor x = random_tensor({3, 34, 34, 19});
  expect_same_with_two_threads([&] {
    Tensor y = Tensor::empty({3, 17, 17, 19});
    kernels::upsample_nearest2x_backward(x.view(), y.view());
    return y;
  });
}

TEST(AvgPool2dKernel, RefusesWrongShapes) {
  const Tensor x = random_tensor({1, 4, 4, 2});
  EXPECT_THROW(kernels::avg_pool2d_forward(2, x.view(), Tensor::empty({1, 2, 3, 2}).view()), Error);
  EXPECT_THROW(kernels::upsample_nearest2x_forward(x.view(), Tensor::empty({1, 9, 8, 2}).view()), Error);
}

INSTANTIATE_TEST_SUITE_P(Isa, AvgPool2dTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
