// What the tape keeps for a U-Net, and what dropout and recomputation may and may not change.
#include <gtest/gtest.h>

#include "kernels/cpu/thread_pool.h"
#include "nn/unet/cost.h"
#include "nn/unet/unet.h"
#include "tensor/pool.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

class UNetTraining : public testing::Test {
 protected:
  UNetTraining() {
    unsigned seed = 100;
    for (Parameter& p : net_.parameters())
      p.value.mutable_value() = random_tensor(p.value.shape(), DType::f32, seed++, 0.2);
  }
  static UNetConfig config() {
    UNetConfig config = unet_preset("tiny");
    config.resolution = 8;
    config.attention_resolutions = {4};
    config.dropout = 0.25;
    return config;
  }
  Var forward(const Var& x) const { return net_.forward(x, Tensor::full({x.dim(0)}, 7)); }

  struct Result {
    std::vector<std::vector<double>> gradients;  // of x, then of every parameter
    std::vector<double> y;
    size_t kept = 0;  // bytes that the tape holds between forward and backward
  };
  Result run() {
    net_.clear_gradients();
    const Var x = Var::leaf(x_);
    const size_t before = default_pool()->statistics().in_use;
    Var y = forward(x);
    Result result;
    result.kept = default_pool()->statistics().in_use - before;
    result.y = y.value().to_vector();
    backward(y, dy_);
    result.gradients.push_back(x.grad().to_vector());
    for (const Parameter& p : net_.parameters())
      result.gradients.push_back(p.value.grad().defined() ? p.value.grad().to_vector()
                                                          : std::vector<double>{});
    return result;
  }

  UNet net_{config()};
  const Tensor x_ = random_tensor({3, 8, 8, 3}), dy_ = random_tensor({3, 8, 8, 3}, DType::f32, 5);
};

TEST_F(UNetTraining, RecomputationChangesNoBitAndKeepsLess) {
  net_.train();
  net_.set_dropout_key(1, 2);
  const Result kept = run();
  net_.set_recompute(true);
  const Result recomputed = run();
  EXPECT_EQ(recomputed.y, kept.y);
  EXPECT_EQ(recomputed.gradients, kept.gradients);
  EXPECT_LT(recomputed.kept, kept.kept * 2 / 3);
}

TEST_F(UNetTraining, GradientsDoNotDependOnThreads) {
  const int threads = kernels::thread_count();
  kernels::set_thread_count(1);
  const Result one = run();
  kernels::set_thread_count(2);
  EXPECT_EQ(run().gradients, one.gradients);
  kernels::set_thread_count(threads);
}

TEST_F(UNetTraining, FrozenWeightsKeepLessAndGiveTheSameInputGradient) {
  const Result trainable = run();
  net_.freeze();
  run();  // the layers pack their weights, once
  const Result frozen = run();
  EXPECT_EQ(frozen.gradients[0], trainable.gradients[0]);
  for (size_t i = 1; i < frozen.gradients.size(); ++i) EXPECT_TRUE(frozen.gradients[i].empty());
  EXPECT_LT(frozen.kept, trainable.kept * 3 / 4);
}

TEST_F(UNetTraining, DropoutActsInTrainingOnlyAndFollowsItsKey) {
  const auto evaluated = forward(x_).value().to_vector();
  net_.train();
  net_.set_dropout_key(1, 2);
  const Tensor first = forward(x_).value();
  EXPECT_NE(first.to_vector(), evaluated);
  EXPECT_EQ(forward(x_).value().to_vector(), first.to_vector());
  net_.set_dropout_key(1, 3);
  EXPECT_NE(forward(x_).value().to_vector(), first.to_vector());
  net_.set_dropout_key(1, 2, /*first_sample=*/1);  // the same samples in another batch
  EXPECT_EQ(forward(x_.slice(0, 1, 3)).value().to_vector(), first.slice(0, 1, 3).to_vector());
  net_.evaluate();
  EXPECT_EQ(forward(x_).value().to_vector(), evaluated);
}

TEST_F(UNetTraining, Bf16ActivationsGiveF32GradientsNearTheExactOnes) {
  const Result exact = run();
  net_.set_activation_dtype(DType::bf16);
  const Result half = run();
  EXPECT_LT(half.kept, exact.kept * 3 / 4);
  for (const Parameter& p : net_.parameters()) EXPECT_EQ(p.value.grad().dtype(), DType::f32) << p.name;
  double error = 0, norm = 0;
  for (size_t i = 0; i < exact.gradients.size(); ++i)
    for (size_t k = 0; k < exact.gradients[i].size(); ++k) {
      error += std::pow(half.gradients[i][k] - exact.gradients[i][k], 2);
      norm += std::pow(exact.gradients[i][k], 2);
    }
  EXPECT_LT(std::sqrt(error / norm), 0.03);
  EXPECT_GT(error, 0);
}

TEST_F(UNetTraining, Bf16WeightsStayNearF32) {
  const auto exact = forward(x_).value();
  net_.to(DType::bf16);
  net_.set_activation_dtype(DType::bf16);
  EXPECT_LT(max_error(forward(x_).value(), exact), 0.05);
}

TEST(UNetCost, CountsWhatTheNetworkHas) {
  for (const std::string& name : unet_presets()) {
    const UNetConfig config = unet_preset(name);
    EXPECT_EQ(unet_cost(config).parameters, UNet(config, std::nullopt).parameter_count()) << name;
  }
  // 12.44 GFLOP an image is what a count over the layers of the reference's network gives, too.
  EXPECT_NEAR(2e-9 * static_cast<double>(unet_cost(unet_preset("ddpm-cifar10")).multiply_adds), 12.44, 0.1);
}

}  // namespace
}  // namespace tw
