#include "nn/unet/unet.h"

#include <gtest/gtest.h>

#include "autograd/ops/mse_loss.h"
#include "kernels/cpu/thread_pool.h"
#include "nn/optimiser.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

UNetConfig small_config() {
  UNetConfig config = unet_preset("tiny");
  config.resolution = 8;
  config.attention_resolutions = {4};
  config.classes = 3;
  return config;
}

// Blocks start as the identity and the output at zero: give every parameter some value, so that a test sees
// all of them.
void randomise(UNet& net) {
  unsigned seed = 100;
  for (Parameter& p : net.parameters())
    p.value.mutable_value() =
        random_tensor(p.value.shape(), DType::f32, seed++, p.value.shape().rank() == 1 ? 1.0 : 0.2);
}

Tensor labels(std::vector<int32_t> values) { return Tensor::from(values); }

TEST(UNet, TheCifar10PresetHasTheParametersOfHoEtAl) {
  const UNet net(unet_preset("ddpm-cifar10"));
  EXPECT_EQ(net.parameter_count(), 35746307);
}

TEST(UNet, SampleDoesNotDependOnBatchOrThreads) {
  UNet net(small_config());
  randomise(net);
  NoGrad no_grad;
  const Tensor x = random_tensor({5, 8, 8, 3}), t = Tensor::from(std::vector<float>{0, 10, 500, 999, 3});
  const Tensor classes = labels({0, 1, 2, 3, 0});
  const int threads = kernels::thread_count();
  kernels::set_thread_count(2);
  const Tensor all = net.forward(x, t, classes).value();
  kernels::set_thread_count(1);
  for (int64_t i = 0; i < 5; ++i) {
    const Tensor one =
        net.forward(x.slice(0, i, i + 1), t.slice(0, i, i + 1), classes.slice(0, i, i + 1)).value();
    EXPECT_EQ(one.to_vector(), all.slice(0, i, i + 1).to_vector()) << "sample " << i;
  }
  kernels::set_thread_count(threads);
}

TEST(UNet, LabelsAndTimesMatter) {
  UNet net(small_config());
  randomise(net);
  const Tensor x = random_tensor({1, 8, 8, 3}), t = Tensor::full({1}, 5);
  const auto y = net.forward(x, t, labels({0})).value().to_vector();
  EXPECT_NE(y, net.forward(x, t, labels({1})).value().to_vector());
  EXPECT_NE(y, net.forward(x, Tensor::full({1}, 6), labels({0})).value().to_vector());
  EXPECT_EQ(net.forward(x, t).value().to_vector(), net.forward(x, t, labels({3})).value().to_vector())
      << "no label is the null class";
}

TEST(UNet, EveryParameterGetsAGradient) {
  UNet net(small_config());
  randomise(net);
  const Tensor x = random_tensor({2, 8, 8, 3});
  backward(net.forward(x, Tensor::full({2}, 7), labels({1, 2})), random_tensor({2, 8, 8, 3}, DType::f32, 5));
  for (const Parameter& p : net.parameters()) {
    ASSERT_TRUE(p.value.grad().defined()) << p.name;
    double sum = 0;
    for (double g : p.value.grad().to_vector()) sum += std::abs(g);
    EXPECT_GT(sum, 0) << p.name;
  }
}

TEST(UNet, Bf16ActivationsStayNearF32) {
  UNet net(small_config());
  randomise(net);
  const Tensor x = random_tensor({2, 8, 8, 3}), t = Tensor::full({2}, 7);
  const Tensor exact = net.forward(x, t).value();
  net.set_activation_dtype(DType::bf16);
  const Var y = net.forward(x, t);
  EXPECT_EQ(y.dtype(), DType::f32);
  EXPECT_LT(max_error(y.value(), exact), 0.05);
  EXPECT_NE(y.value().to_vector(), exact.to_vector());
}

TEST(UNet, TrainingReducesTheLossAndEmaFollows) {
  UNet net(small_config(), 1);
  Optimiser optimiser(net, {.clip_norm = 1});
  Ema ema(net, {});
  const Tensor x = random_tensor({4, 8, 8, 3}), target = random_tensor({4, 8, 8, 3}, DType::f32, 2),
               t = Tensor::full({4}, 7);
  double first = 0, last = 0;
  for (int step = 0; step < 30; ++step) {
    const Var loss = mse_loss(net.forward(x, t), target);
    last = loss.value().item();
    if (step == 0) first = last;
    backward(loss);
    EXPECT_TRUE(optimiser.step(2e-3, 1, &ema).finite);
  }
  EXPECT_LT(last, 0.7 * first);
  EXPECT_EQ(ema.updates(), 30);
  const auto trained = net.forward(x, t).value().to_vector();
  {
    const EmaScope scope(net, ema);
    EXPECT_NE(net.forward(x, t).value().to_vector(), trained);
  }
  EXPECT_EQ(net.forward(x, t).value().to_vector(), trained);
}

TEST(UNet, AWrongShapeIsNamed) {
  const UNet net(small_config());
  EXPECT_THROW(net.forward(Tensor::zeros({1, 8, 8, 4}), Tensor::zeros({1})), Error);
  EXPECT_THROW(net.forward(Tensor::zeros({1, 7, 8, 3}), Tensor::zeros({1})), Error);
  UNetConfig bad = small_config();
  bad.groups = 7;
  EXPECT_THROW(UNet{bad}, Error);
}

}  // namespace
}  // namespace tw
