// Rows of a table by a number in a device's memory, and draws by one.
#include <gtest/gtest.h>

#include <cstring>

#include "kernels/op/step_row.h"
#include "tensor/cuda_library.h"
#include "tensor/error.h"
#include "tensor/random.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"

namespace tw::kernels {
namespace {

class CudaStepRow : public testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  }
  static Tensor number(int64_t value) {
    return to_device(Tensor::from(std::vector<int64_t>{value}), Device::cuda);
  }
};

// Rows of 16-byte words, of 4-byte words and of bytes; numbers beyond the table begin anew.
TEST_F(CudaStepRow, IsTakenAndPutAndCountedUp) {
  for (const auto& [width, dtype] :
       {std::pair{9, DType::f64}, {64, DType::f32}, {5, DType::f32}, {3, DType::bf16}, {1, DType::i64}}) {
    const Tensor host = random_tensor({4, width}, DType::f32, 7).to(dtype);
    Tensor table = to_device(host, Device::cuda), row = number(2);
    Tensor one = Tensor::zeros({width}, dtype, Device::cuda);
    for (const int64_t expected : {2, 3, 0}) {
      take_row(table.view(), row.view(), one.view());
      EXPECT_EQ(one.to_vector(), host.select(0, expected).to_vector()) << width;
      count_up(row.view());
    }
    EXPECT_EQ(row.to_vector(), std::vector<double>{5});
    put_row(table.view(), row.view(), one.view());  // row 0's numbers to row 1
    EXPECT_EQ(table.select(0, 1).to_vector(), host.select(0, 0).to_vector());
    for (const int64_t other : {0, 2, 3})
      EXPECT_EQ(table.select(0, other).to_vector(), host.select(0, other).to_vector());
  }
}

TEST_F(CudaStepRow, WhatDoesNotFitIsRefused) {
  const Tensor table = Tensor::zeros({4, 3}, DType::f32, Device::cuda), row = number(0);
  const auto refused = [&](const Tensor& t, const Tensor& r, const Tensor& one) {
    EXPECT_THROW(take_row(t.view(), r.view(), one.view()), Error);
    EXPECT_THROW(put_row(t.view(), r.view(), one.view()), Error);
  };
  refused(table, row, Tensor::zeros({4}, DType::f32, Device::cuda));
  refused(table, row, Tensor::zeros({3}, DType::f64, Device::cuda));
  refused(table, row, Tensor::zeros({3}));
  refused(table, Tensor::zeros({1}, DType::f32, Device::cuda), Tensor::zeros({3}, DType::f32, Device::cuda));
  refused(Tensor::zeros({0, 3}, DType::f32, Device::cuda), row, Tensor::zeros({3}, DType::f32, Device::cuda));
  EXPECT_THROW(count_up(Tensor::zeros({1}, DType::i64).view()), Error);
}

TEST_F(CudaStepRow, ADrawInMemoryHasTheBitsOfTheHost) {
  const std::vector<uint64_t> seeds{5, 6, uint64_t{1} << 40};
  std::vector<uint8_t> bytes(seeds.size() * sizeof(RandomKey));
  for (size_t i = 0; i < seeds.size(); ++i) {
    const RandomKey key{.seed = seeds[i], .purpose = Purpose::step};
    std::memcpy(bytes.data() + i * sizeof key, &key, sizeof key);
  }
  const Tensor keys = to_device(Tensor::from(bytes), Device::cuda);
  for (const int64_t draw : {0, 9, 1000}) {
    Tensor found = Tensor::empty({3, 5, 7}, DType::f32, Device::cuda);
    fill_normal(found, keys, number(draw));
    EXPECT_EQ(found.to_vector(),
              random_normal({5, 7}, seeds, static_cast<uint64_t>(draw), Purpose::step).to_vector());
  }
  Tensor wrong = Tensor::empty({2, 5}, DType::f32, Device::cuda);
  EXPECT_THROW(fill_normal(wrong, keys, number(0)), Error);
}

}  // namespace
}  // namespace tw::kernels
