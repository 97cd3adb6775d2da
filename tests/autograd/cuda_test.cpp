// Every differentiable op on a CUDA device against the CPU: its value and the gradients of all its inputs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "autograd/checkpoint.h"
#include "autograd/ops/activation.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/avg_pool2d.h"
#include "autograd/ops/binary.h"
#include "autograd/ops/concat.h"
#include "autograd/ops/conv2d.h"
#include "autograd/ops/conv3d.h"
#include "autograd/ops/conv_transpose2d.h"
#include "autograd/ops/dropout.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/fft2d.h"
#include "autograd/ops/group_norm_silu.h"
#include "autograd/ops/layer_norm.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/matmul.h"
#include "autograd/ops/mse_loss.h"
#include "autograd/ops/pad2d.h"
#include "autograd/ops/predict_x0.h"
#include "autograd/ops/reshape.h"
#include "autograd/ops/residual_norm.h"
#include "autograd/ops/resize2d.h"
#include "autograd/ops/softmax.h"
#include "autograd/ops/sum.h"
#include "autograd/ops/unary.h"
#include "tensor/cuda_library.h"
#include "tensor/error.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

using Inputs = const std::vector<Var>&;

struct Case {
  const char* name;
  std::vector<Shape> inputs;
  std::function<Var(Inputs)> f;
};

// What f is made of apart from its inputs, on their device.
Tensor beside(const Var& x, const Shape& shape, unsigned seed) {
  return to_device(random_tensor(shape, x.dtype(), seed), x.device());
}

std::vector<Case> elementwise_cases() {
  return {
      {"silu", {{3, 7, 5}}, [](Inputs in) { return silu(in[0]); }},
      {"gelu", {{301}}, [](Inputs in) { return gelu(in[0]); }},
      {"exp", {{4, 9}}, [](Inputs in) { return exp(in[0]); }},
      {"sqrt", {{4, 9}}, [](Inputs in) { return sqrt(square(in[0]) + 0.5); }},
      {"clamp", {{4, 9}}, [](Inputs in) { return clamp(in[0], -0.4, 0.3); }},
      {"add", {{2, 5, 3}, {2, 5, 3}}, [](Inputs in) { return in[0] + in[1]; }},
      {"sub", {{2, 5, 3}, {2, 5, 3}}, [](Inputs in) { return in[0] - in[1]; }},
      {"mul", {{2, 5, 3}, {2, 5, 3}}, [](Inputs in) { return in[0] * in[1]; }},
      {"div", {{2, 5, 3}, {2, 5, 3}}, [](Inputs in) { return in[0] / (square(in[1]) + 1.0); }},
      {"add_broadcast", {{2, 5, 3}, {5, 1}}, [](Inputs in) { return in[0] + in[1]; }},
      {"mul_broadcast", {{2, 5, 3}, {3}}, [](Inputs in) { return in[0] * in[1]; }},
      {"reused", {{2, 5}}, [](Inputs in) { return in[0] * in[0] + in[0]; }},
      {"reshape",
       {{4, 6}},
       [](Inputs in) {
         return reshape(in[0], Shape{3, 8});
       }},
      {"permute",
       {{4, 6, 5}},
       [](Inputs in) {
         return permute(in[0], {2, 0, 1});
       }},
      {"cast", {{4, 6}}, [](Inputs in) { return cast(cast(in[0], DType::bf16), DType::f32); }},
      {"concat",
       {{2, 3, 4}, {2, 5, 4}},
       [](Inputs in) {
         return concat({in[0], in[1]}, 1);
       }},
      {"slice", {{2, 9, 4}}, [](Inputs in) { return slice(in[0], 1, 2, 7); }},
      {"sum", {{3, 8, 5}}, [](Inputs in) { return sum(in[0], {1}); }},
      {"mean_of_all", {{3, 8, 5}}, [](Inputs in) { return mean(in[0]); }},
      {"softmax", {{7, 33}}, [](Inputs in) { return softmax(in[0]); }},
      {"dropout", {{3, 40}}, [](Inputs in) { return dropout(in[0], 0.3, 7); }},
      {"mse_loss", {{3, 4, 4, 2}, {3, 4, 4, 2}}, [](Inputs in) { return mse_loss(in[0], in[1]); }},
      {"residual_norm",
       {{3, 4, 4, 2}},
       [](Inputs in) { return residual_norm(beside(in[0], in[0].shape(), 5), in[0]); }},
      {"predict_x0",
       {{3, 4, 4, 2}, {3, 4, 4, 2}},
       [](Inputs in) {
         return predict_x0(in[0], in[1], {{.x0_from_x = 1.3, .x0_from_output = -0.7, .clip = 1}});
       }},
      {"embedding",
       {{6, 5}},
       [](Inputs in) {
         const Tensor index = Tensor::from(std::vector<int32_t>{3, 0, 5, 3}, Shape{4});
         return embedding(in[0], to_device(index, in[0].device()));
       }},
  };
}

std::vector<Case> layer_cases() {
  return {
      {"matmul", {{2, 7, 5}, {5, 6}}, [](Inputs in) { return matmul(in[0], in[1]); }},
      {"matmul_transposed",
       {{3, 7, 5}, {3, 6, 5}},
       [](Inputs in) { return matmul(in[0], in[1], false, true); }},
      {"linear", {{9, 7}, {7, 6}, {6}, {9, 6}}, [](Inputs in) { return linear(in[0], in[1], in[2], in[3]); }},
      {"conv2d",
       {{2, 7, 6, 5}, {3, 3, 5, 4}, {4}, {2, 4}, {2, 7, 6, 4}},
       [](Inputs in) {
         return conv2d(in[0], in[1], {.bias = in[2], .temb = in[3], .residual = in[4]},
                       kernels::Conv2dParams::same(3));
       }},
      {"conv2d_stride",
       {{2, 8, 6, 5}, {3, 3, 5, 4}, {4}},
       [](Inputs in) {
         return conv2d(in[0], in[1], {.bias = in[2]},
                       {.stride_h = 2, .stride_w = 2, .pad_bottom = 1, .pad_right = 1});
       }},
      {"conv3d",
       {{1, 4, 5, 3, 2}, {3, 3, 3, 2, 3}, {3}},
       [](Inputs in) { return conv3d(in[0], in[1], in[2], kernels::Conv3dParams::same(3)); }},
      {"conv_transpose2d",
       {{2, 4, 3, 5}, {4, 4, 5, 3}, {3}},
       [](Inputs in) {
         return conv_transpose2d(in[0], in[1], in[2],
                                 {.stride_h = 2, .stride_w = 2, .pad_top = 1, .pad_bottom = 1});
       }},
      {"group_norm",
       {{2, 6, 5, 8}, {8}, {8}, {2, 16}},
       [](Inputs in) { return group_norm(in[0], in[1], in[2], {.groups = 4, .silu = true}, in[3]); }},
      {"group_norm_in_parts",
       {{2, 6, 5, 8}, {12}, {12}, {2, 6, 5, 4}},
       [](Inputs in) { return group_norm(in[0], in[1], in[2], {.groups = 3, .silu = true}, {}, in[3]); }},
      {"layer_norm", {{3, 7, 20}, {20}, {20}}, [](Inputs in) { return layer_norm(in[0], in[1], in[2]); }},
      {"attention",
       {{2, 9, 8}, {2, 6, 8}, {2, 6, 8}},
       [](Inputs in) { return attention(in[0], in[1], in[2], {.heads = 2}); }},
      {"attention_packed", {{2, 9, 24}}, [](Inputs in) { return attention_packed(in[0], {.heads = 2}); }},
      {"avg_pool2d", {{2, 7, 6, 5}}, [](Inputs in) { return avg_pool2d(in[0], 2); }},
      {"upsample_nearest2x", {{2, 3, 4, 5}}, [](Inputs in) { return upsample_nearest2x(in[0]); }},
      {"pad2d", {{2, 5, 4, 3}}, [](Inputs in) { return pad2d(in[0], 1, 2, 0, 1); }},
      {"resize2d",
       {{2, 5, 6, 3}},
       [](Inputs in) { return resize2d(in[0], 8, 4, kernels::ResizeMode::bilinear, true); }},
      {"fft2d",
       {{2, 6, 5, 3, 2}},
       [](Inputs in) { return ifft2d(fft2d(in[0]) * in[0], kernels::FftNorm::forward, true); }},
      {"rfft2d", {{2, 6, 5, 3}}, [](Inputs in) { return irfft2d(rfft2d(in[0]), 4); }},
      {"resize2d_bicubic",
       {{2, 5, 6, 3}},
       [](Inputs in) { return resize2d(in[0], 7, 9, kernels::ResizeMode::bicubic); }},
      {"checkpoint",
       {{2, 5, 4, 3}, {3, 3, 3, 3}},
       [](Inputs in) {
         return checkpoint(
             [](Inputs x) { return silu(conv2d(x[0], x[1], {}, kernels::Conv2dParams::same(3))); },
             {in[0], in[1]});
       }},
  };
}

// The value and then the gradients, with the inputs on `device`.
std::vector<Tensor> results(const Case& op, Device device) {
  std::vector<Var> leaves;
  for (size_t i = 0; i < op.inputs.size(); ++i)
    leaves.push_back(
        Var::leaf(to_device(random_tensor(op.inputs[i], DType::f32, static_cast<unsigned>(i)), device)));
  const Var y = op.f(leaves);
  std::vector<Tensor> all{y.value()};
  for (const Tensor& gradient : grad({y}, leaves, {beside(y, y.shape(), 99)})) all.push_back(gradient);
  return all;
}

class CudaAutograd : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  }
};

TEST_P(CudaAutograd, AgreesWithTheCpu) {
  const Case& op = GetParam();
  const std::vector<Tensor> found = results(op, Device::cuda), expected = results(op, Device::cpu);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(found[i].device(), Device::cuda);
    EXPECT_LE(max_error(found[i], expected[i]), 1e-5) << (i ? "gradient " : "value ") << i;
  }
}

void PrintTo(const Case& op, std::ostream* out) { *out << op.name; }

const auto name_of_case = [](const testing::TestParamInfo<Case>& info) {
  return std::string(info.param.name);
};
INSTANTIATE_TEST_SUITE_P(Elementwise, CudaAutograd, testing::ValuesIn(elementwise_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(Layers, CudaAutograd, testing::ValuesIn(layer_cases()), name_of_case);

TEST(CudaAutogradErrors, TwoDevicesInOneOpAreNamed) {
  if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  const Var host(random_tensor({2, 3})), device(to_device(random_tensor({2, 3}), Device::cuda));
  const auto message = [](const std::function<void()>& f) -> std::string {
    try {
      f();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  using testing::AllOf;
  using testing::HasSubstr;
  EXPECT_THAT(message([&] { host + device; }), AllOf(HasSubstr("cpu"), HasSubstr("cuda"), HasSubstr("add")));
  EXPECT_THAT(message([&] {
                linear(device, Var(random_tensor({3, 4})));
              }),
              AllOf(HasSubstr("cpu"), HasSubstr("cuda")));
  EXPECT_THAT(message([&] { concat({host, device}, 0); }), AllOf(HasSubstr("cpu"), HasSubstr("cuda")));
  const Var leaf = Var::leaf(to_device(random_tensor({2}), Device::cuda));
  EXPECT_THAT(message([&] { backward(leaf * 2.0, random_tensor({2})); }),
              AllOf(HasSubstr("seed"), HasSubstr("cpu"), HasSubstr("cuda")));
}

}  // namespace
}  // namespace tw
