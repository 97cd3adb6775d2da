#include "kernels/op/copy.h"

#include <gtest/gtest.h>

#include "tests/kernels/every_isa.h"
#include "tests/kernels/thread_counts.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

constexpr DType all[] = {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i32, DType::i64, DType::u8};

TEST(Copy, ConvertsBetweenAllTypes) {
  std::vector<double> whole;
  for (int i = 0; i < 37; ++i) whole.push_back(i * 3);
  for (DType from : all)
    for (DType to : all) {
      const Tensor x = Tensor::from(whole).to(from);
      Tensor y = Tensor::empty({37}, to);
      kernels::copy(x.view(), y.view());
      EXPECT_EQ(y.to_vector(), whole) << dtype_name(from) << " to " << dtype_name(to);
    }
}

class CopyTest : public EveryIsa {};

TEST_P(CopyTest, RoundsToNearestEvenAndWidensExactly) {
  for (int64_t n : {1, 17, 1001}) {
    const Tensor x = random_tensor({n}, DType::f32, 1, 1e3);
    x.data<float>()[n / 2] = NAN;
    Tensor y = Tensor::empty({n}, DType::bf16), back = Tensor::empty({n});
    kernels::copy(x.view(), y.view());
    kernels::copy(y.view(), back.view());
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(y.data<bf16>()[i].bits, bf16(x.data<float>()[i]).bits);
      if (i != n / 2) {
        ASSERT_EQ(back.data<float>()[i], static_cast<float>(y.data<bf16>()[i]));
      }
    }
    EXPECT_TRUE(std::isnan(back.data<float>()[n / 2]));
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, CopyTest, every_isa(), isa_test_name);

TEST(Copy, WalksAnyStrides) {
  const Tensor x = random_tensor({5, 6, 7}, DType::f32, 1);
  for (const Tensor& source : {x.permute({2, 0, 1}), x.slice(2, 1, 4), x.slice(0, 1, 3).permute({1, 2, 0}),
                               x.select(1, 2), x.select(0, 3).unsqueeze(1).broadcast_to({6, 4, 7})}) {
    Tensor y = Tensor::empty(source.shape());
    kernels::copy(source.view(), y.view());
    EXPECT_EQ(y.to_vector(), source.to_vector());
    Tensor wide = Tensor::full(source.shape().with(-1, source.shape().back() + 2), 7);
    kernels::copy(source.view(), wide.slice(-1, 1, source.shape().back() + 1).view());
    EXPECT_EQ(wide.slice(-1, 1, source.shape().back() + 1).to_vector(), source.to_vector());
    for (double v : wide.slice(-1, 0, 1).to_vector()) EXPECT_EQ(v, 7);
  }
}

TEST(Copy, DoesNotDependOnTheThreadCount) {
  const Tensor x = random_tensor({30, 31, 37});
  expect_same_with_two_threads([&] {
    Tensor y = Tensor::empty({37, 30, 31}, DType::bf16);
    kernels::copy(x.permute({2, 0, 1}).view(), y.view());
    return y;
  });
}

TEST(Copy, FillsAndRefuses) {
  Tensor y = Tensor::zeros({4, 5}, DType::bf16);
  kernels::fill(2.5, y.slice(1, 1, 3).view());
  EXPECT_EQ(y.slice(0, 2, 3).to_vector(), (std::vector<double>{0, 2.5, 2.5, 0, 0}));
  EXPECT_THROW(kernels::copy(random_tensor({3}).view(), random_tensor({4}).view()), Error);
  EXPECT_THROW(kernels::copy({}, y.view()), Error);
}

}  // namespace
}  // namespace tw
