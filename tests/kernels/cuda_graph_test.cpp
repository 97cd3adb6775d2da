// A captured step, repeated, against the same step run as it is.
#include "tensor/cuda_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/op/activation.h"
#include "kernels/op/binary.h"
#include "kernels/op/gemm.h"
#include "tensor/arena.h"
#include "tensor/cuda_library.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"

namespace tw::kernels {
namespace {

class CudaGraphs : public testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  }
  static std::string error_of(CudaGraph& graph, const std::function<void()>& body) {
    try {
      graph.capture(body);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
};

// x <- silu(x w) + x, whose product takes scratch memory and whose tensors come from a planned arena.
TEST_F(CudaGraphs, ARepeatedStepIsTheStep) {
  const Tensor start = random_tensor({5, 16}), w = to_device(random_tensor({16, 16}), Device::cuda);
  const auto run = [&](bool captured) {
    const Tensor x = to_device(start, Device::cuda);
    PlannedLoop memory(PlannedArena::on(Device::cuda));
    const auto body = [&] {
      const Tensor product = Tensor::empty({5, 16}, DType::f32, Device::cuda),
                   y = Tensor::empty({5, 16}, DType::f32, Device::cuda);
      gemm({}, x.view(), w.view(), {}, product.view(), {});
      activation_forward({.kind = Activation::silu}, product.view(), y.view());
      binary(Binary::add, x.view(), y.view(), x.view());
    };
    const auto in_plan = [&](const std::function<void()>& step) {
      memory.step([&] {
        step();
        return true;
      });
    };
    CudaGraph graph;
    for (int i = 0; i < 6; ++i) {
      if (!captured || i < 2) {
        in_plan(body);
        continue;
      }
      if (i == 2) in_plan([&] { graph.capture(body); });
      graph.launch();
    }
    EXPECT_GE(graph.nodes(), captured ? 3 : 0);
    return x.to_vector();
  };
  EXPECT_EQ(run(true), run(false));
}

TEST_F(CudaGraphs, WhatCannotBeCapturedIsRefused) {
  Tensor x = to_device(random_tensor({8}), Device::cuda);
  CudaGraph graph;
  EXPECT_THAT(error_of(graph, [&] { x.to_vector(); }), testing::HasSubstr("give values to the host"));
  EXPECT_THAT(error_of(graph, [&] { x.copy_from(Tensor::zeros({8})); }),
              testing::HasSubstr("take values from the host"));
  EXPECT_THAT(error_of(graph, [] { cuda_wait(); }), testing::HasSubstr("cannot wait"));
  EXPECT_THAT(error_of(graph, [] { Tensor::empty({8}, DType::f32, Device::cuda); }),
              testing::HasSubstr("a tensor that its memory plan does not have"));
  EXPECT_FALSE(graph.captured());
  EXPECT_THROW(graph.launch(), Error);
  // Nothing is left of the failed ones.
  graph.capture([&] { binary(Binary::add, x.view(), x.view(), x.view()); });
  const std::vector<double> before = x.to_vector();
  graph.launch();
  EXPECT_EQ(x.to_vector()[3], 2 * before[3]);
}

TEST_F(CudaGraphs, ATensorReleasedWithinACaptureStaysUntilItsEnd) {
  Tensor x = to_device(random_tensor({8}), Device::cuda);
  const int64_t held = cuda_memory().tensors;
  CudaGraph graph;
  graph.capture([&] {
    x = Tensor();
    EXPECT_EQ(cuda_memory().tensors, held);
  });
  EXPECT_EQ(cuda_memory().tensors, held - 32);
}

}  // namespace
}  // namespace tw::kernels
