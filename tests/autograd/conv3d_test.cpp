#include "autograd/ops/conv3d.h"

#include <gtest/gtest.h>

#include "autograd/ops/conv2d.h"
#include "autograd/ops/conv_transpose2d.h"
#include "kernels/cpu/thread_pool.h"
#include "tests/autograd/gradient_check.h"
#include "tests/kernels/every_isa.h"

namespace tw {
namespace {

using kernels::Conv3dParams;
using kernels::ConvTranspose2dParams;

struct Results {
  std::vector<Tensor> all;  // y, dx, dw, db
};

template <class Op>
Results run(const Op& op, const Shape& x_shape, const Shape& w_shape, DType dtype) {
  const auto input = [&](const Shape& shape, unsigned seed) {
    return Var::leaf(random_tensor(shape, DType::bf16, seed).to(dtype));
  };
  const Var x = input(x_shape, 1), w = input(w_shape, 2), bias = input({w_shape.back()}, 3);
  const Var y = op(x, w, bias);
  std::vector<Tensor> all = grad({y}, {x, w, bias}, {random_tensor(y.shape(), DType::bf16, 4).to(dtype)});
  all.insert(all.begin(), y.value());
  return {all};
}

// f32 and bf16 against f64, and one thread against two.
template <class Op>
void check_op(const Op& op, const Shape& x, const Shape& w) {
  const Results exact = run(op, x, w, DType::f64), fast = run(op, x, w, DType::f32),
                half = run(op, x, w, DType::bf16);
  const int before = kernels::thread_count();
  kernels::set_thread_count(before == 1 ? 2 : 1);
  const Results other = run(op, x, w, DType::f32);
  kernels::set_thread_count(before);
  for (size_t i = 0; i < exact.all.size(); ++i) {
    EXPECT_LE(max_error(fast.all[i], exact.all[i]), 3e-6) << x << w << " result " << i;
    EXPECT_LE(max_error(half.all[i], exact.all[i]), 6e-3) << x << w << " result " << i;
    EXPECT_EQ(fast.all[i].to_vector(), other.all[i].to_vector()) << "threads change result " << i;
  }
}

using Conv3dTest = EveryIsa;

const std::vector<Conv3dParams>& params3() {
  static const std::vector<Conv3dParams> all{
      Conv3dParams::same(3),
      {.stride = {2, 1, 2}, .pad_before = {1, 0, 1}, .pad_after = {0, 2, 1}, .dilation = {1, 2, 1}}};
  return all;
}

TEST_P(Conv3dTest, AllPassesMatchF64) {
  for (const Conv3dParams& params : params3())
    check_op([&](const Var& x, const Var& w, const Var& b) { return conv3d(x, w, b, params); },
             {2, 4, 5, 6, 19}, {3, 3, 3, 19, 21});
}

TEST_P(Conv3dTest, TransposedMatchesF64) {
  for (const ConvTranspose2dParams& params :
       {ConvTranspose2dParams{}, ConvTranspose2dParams{2, 2, 1, 1, 1, 1, 1, 1, 1, 1},
        ConvTranspose2dParams{3, 2, 0, 1, 2, 0, 2, 1, 2, 0}})
    check_op([&](const Var& x, const Var& w, const Var& b) { return conv_transpose2d(x, w, b, params); },
             {2, 4, 5, 35}, {3, 4, 35, 18});
}

INSTANTIATE_TEST_SUITE_P(Isa, Conv3dTest, every_isa(), isa_test_name);

TEST(Conv3d, MatchesFiniteDifferences) {
  for (const Conv3dParams& params : params3())
    expect_gradients_match(
        [&](const std::vector<Var>& in) { return conv3d(in[0], in[1], in[2], params); },
        {random_tensor({1, 3, 4, 3, 2}, DType::f64, 1), random_tensor({2, 2, 3, 2, 3}, DType::f64, 2),
         random_tensor({3}, DType::f64, 3)});
}

// A kernel of depth one is a 2-D convolution of every slice.
TEST(Conv3d, DepthOneIsConv2dOfTheSlices) {
  const Tensor x = random_tensor({2, 3, 5, 4, 6}), w = random_tensor({1, 3, 3, 6, 7}, DType::f32, 2);
  const Tensor y = conv3d(x, w, {}, {.pad_before = {0, 1, 1}, .pad_after = {0, 1, 1}}).value();
  const Tensor flat =
      conv2d(x.reshape({6, 5, 4, 6}), w.reshape({3, 3, 6, 7}), {}, kernels::Conv2dParams::same(3)).value();
  EXPECT_EQ(y.to_vector(), flat.to_vector());
}

TEST(ConvTranspose2d, MatchesFiniteDifferences) {
  for (const ConvTranspose2dParams& params : {ConvTranspose2dParams{2, 2, 1, 1, 1, 1, 1, 1, 1, 1},
                                              ConvTranspose2dParams{1, 3, 0, 1, 0, 0, 2, 1, 0, 2}})
    expect_gradients_match(
        [&](const std::vector<Var>& in) { return conv_transpose2d(in[0], in[1], in[2], params); },
        {random_tensor({2, 3, 4, 2}, DType::f64, 1), random_tensor({3, 3, 2, 3}, DType::f64, 2),
         random_tensor({3}, DType::f64, 3)});
}

// <conv(x), z> = <x, conv^T(z)> with the weights' channels exchanged: what the name means.
TEST(ConvTranspose2d, IsTheAdjointOfConv2d) {
  const Tensor x = random_tensor({1, 7, 9, 2}, DType::f64, 1), w = random_tensor({3, 3, 2, 4}, DType::f64, 2);
  const Tensor y = conv2d(x, w, {}, {2, 2, 1, 1, 1, 1}).value();
  const Tensor z = random_tensor(y.shape(), DType::f64, 3);
  const Tensor back =
      conv_transpose2d(z, w.permute({0, 1, 3, 2}).contiguous(), {}, {2, 2, 1, 1, 1, 1}).value();
  ASSERT_EQ(back.shape(), x.shape());
  const auto dot = [](const Tensor& a, const Tensor& b) {
    const std::vector<double> u = a.to_vector(), v = b.to_vector();
    double sum = 0;
    for (size_t i = 0; i < u.size(); ++i) sum += u[i] * v[i];
    return sum;
  };
  EXPECT_NEAR(dot(y, z), dot(x, back), 1e-10);
}

TEST(Conv3d, ErrorsNameTheOpAndTheShapes) {
  EXPECT_THROW(conv3d(Tensor::zeros({1, 2, 2, 2, 3}), Tensor::zeros({1, 1, 1, 4, 5})), Error);
  EXPECT_THROW(conv3d(Tensor::zeros({1, 2, 2, 2, 3}), Tensor::zeros({3, 1, 1, 3, 5})), Error);
  EXPECT_THROW(
      conv_transpose2d(Tensor::zeros({1, 2, 2, 3}), Tensor::zeros({3, 3, 3, 5}), {}, {.output_pad_h = 1}),
      Error);
}

}  // namespace
}  // namespace tw
