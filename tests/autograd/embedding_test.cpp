#include "autograd/ops/embedding.h"

#include <gtest/gtest.h>

#include "kernels/cpu/thread_pool.h"
#include "tensor/error.h"
#include "tests/autograd/gradient_check.h"

namespace tw {
namespace {

TEST(Embedding, LooksUpRowsOfEveryDType) {
  for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    const Tensor table = random_tensor({5, 7}, dtype, 1);
    const Tensor index = Tensor::from(std::vector<int32_t>{4, 0, 4});
    const Tensor y = embedding(Var(table), index).value();
    ASSERT_EQ(y.shape(), (Shape{3, 7}));
    for (int64_t i = 0; i < 3; ++i)
      EXPECT_EQ(y.select(0, i).to_vector(), table.select(0, index.data<int32_t>()[i]).to_vector());
  }
}

TEST(Embedding, GradientMatchesFiniteDifferences) {
  const Tensor index = Tensor::from(std::vector<int64_t>{2, 0, 2, 1, 2, 0}, {2, 3});
  expect_gradients_match([&](const std::vector<Var>& in) { return embedding(in[0], index); },
                         {random_tensor({4, 3}, DType::f64, 1)});
}

TEST(Embedding, GradientIsTheSameForAnyThreadCount) {
  const int threads = kernels::thread_count();
  std::vector<int32_t> rows;
  for (int32_t i = 0; i < 200; ++i) rows.push_back(i * i % 7);
  std::vector<std::vector<double>> results;
  for (int count : {1, 2}) {
    kernels::set_thread_count(count);
    const Var table = Var::leaf(random_tensor({7, 130}));
    const Var y = embedding(table, Tensor::from(rows));
    backward(y, random_tensor(y.shape(), DType::f32, 5));
    results.push_back(table.grad().to_vector());
  }
  kernels::set_thread_count(threads);
  EXPECT_EQ(results[0], results[1]);
}

TEST(Embedding, AnIndexOutOfRangeIsNamed) {
  const Var table(random_tensor({3, 2}));
  try {
    embedding(table, Tensor::from(std::vector<int32_t>{0, 3}));
    FAIL() << "no exception";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("index 3 at 1"), std::string::npos) << error.what();
  }
  EXPECT_THROW(embedding(table, Tensor::from(std::vector<int32_t>{-1})), Error);
  EXPECT_THROW(embedding(table, Tensor::from(std::vector<float>{0})), Error);
}

}  // namespace
}  // namespace tw
