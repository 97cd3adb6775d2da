// A U-Net on a CUDA device against the same U-Net on the CPU: forward, every gradient, training steps, plans,
// files.
#include <gtest/gtest.h>

#include <filesystem>

#include "autograd/ops/mse_loss.h"
#include "nn/model_folder.h"
#include "nn/optimiser.h"
#include "nn/plan.h"
#include "nn/unet/unet.h"
#include "tensor/cuda_library.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

struct Case {
  const char* name;
  UNetConfig config;
};

UNetConfig small() {
  UNetConfig config = unet_preset("tiny");
  config.resolution = 8;
  config.attention_resolutions = {4};
  config.base = 8, config.groups = 4, config.multipliers = {1, 2};  // the emulated device is slow
  return config;
}

UNetConfig small_adm() {
  UNetConfig config = small();
  config.scale_shift_norm = config.residual_resample = config.flip_sin_to_cos = true;
  config.head_channels = 4;
  config.out_channels = 6;
  return config;
}

UNetConfig small_with_classes() {
  UNetConfig config = small();
  config.classes = 3;
  return config;
}

std::unique_ptr<UNet> network_on(Device device, const UNetConfig& config) {
  auto network = std::make_unique<UNet>(config);
  unsigned seed = 100;  // blocks start as the identity: give every parameter some value
  for (Parameter& p : network->parameters())
    p.value.mutable_value() = random_tensor(p.value.shape(), DType::f32, seed++, 0.2);
  network->to(device);
  return network;
}

class CudaUNet : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  }
  const UNetConfig& config() const { return GetParam().config; }

  static void expect_close(const std::vector<Tensor>& found, const std::vector<Tensor>& expected,
                           double error) {
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].device(), Device::cuda);
      EXPECT_LE(max_error(found[i], expected[i]), error) << i << " " << expected[i].shape();
    }
  }
  Tensor labels() const { return config().classes ? Tensor::from(std::vector<int32_t>{2, 3}) : Tensor(); }
  struct Numbers {
    DType activations = DType::f32, weights = DType::f32;
    bool frozen = false, recompute = false;
  };
  // The output, the gradient of x, and those of all parameters that are not frozen.
  std::vector<Tensor> results(Device device, const Numbers& numbers) const {
    const auto network = network_on(device, config());
    network->set_activation_dtype(numbers.activations);
    network->set_recompute(numbers.recompute);
    network->to(numbers.weights);
    network->freeze(numbers.frozen);
    const Var x = Var::leaf(to_device(x_, device));
    const Var y = network->forward(x, t_, labels());
    backward(y, to_device(random_tensor(y.shape(), DType::f32, 5), device));
    std::vector<Tensor> all{y.value(), x.grad()};
    for (const Parameter& p : network->parameters())
      if (p.value.grad().defined()) all.push_back(p.value.grad());
    return all;
  }

  const Tensor x_ = random_tensor({2, 8, 8, 3}), t_ = Tensor::from(std::vector<float>{0, 999});
};

TEST_P(CudaUNet, ForwardAndEveryGradientAgreeWithTheCpu) {
  for (const bool recompute : {false, true})
    expect_close(results(Device::cuda, {.recompute = recompute}),
                 results(Device::cpu, {.recompute = recompute}), 1e-4);
}

TEST_P(CudaUNet, APlanGivesWhatForwardGives) {
  const auto network = network_on(Device::cuda, config());
  network->freeze();
  const Tensor x = to_device(x_, Device::cuda);
  Plan plan(*network, {999, 500, 3}, labels());
  for (int64_t row = 0; row < 3; ++row) {
    const Tensor t = Tensor::full({2}, std::vector<double>{999, 500, 3}[static_cast<size_t>(row)]);
    EXPECT_LE(max_error(plan.evaluate(x, row), network->forward(x, t, labels()).value()), 1e-6) << row;
  }
  EXPECT_EQ(plan.arena().device(), Device::cuda);
  EXPECT_GT(plan.arena().arena_bytes(), 0u);
}

TEST_P(CudaUNet, TrainingStepsAgreeWithTheCpu) {
  const auto train = [&](Device device) {
    const auto network = network_on(device, config());
    Optimiser optimiser(*network, {.clip_norm = 1});
    Ema ema(*network, {});
    std::vector<double> losses;
    for (int step = 0; step < 3; ++step) {
      const Var y = network->forward(to_device(x_, device), t_, labels());
      const Var loss = mse_loss(y, to_device(random_tensor(y.shape(), DType::f32, 5), device));
      backward(loss);
      losses.push_back(loss.value().item());
      EXPECT_TRUE(optimiser.step(1e-3, 1, &ema).finite);
    }
    std::vector<Tensor> state{Tensor::from(losses)};
    for (const Parameter& p : network->parameters()) state.push_back(to_device(p.value.value(), Device::cpu));
    for (const auto& [name, tensor] : ema.state()) state.push_back(to_device(tensor, Device::cpu));
    return state;
  };
  const std::vector<Tensor> expected = train(Device::cpu), found = train(Device::cuda);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_LE(max_error(found[i], expected[i]), 1e-4) << i;
}

// Activations in bf16, with f32 weights and, as in sampling, with bf16 weights.
TEST_P(CudaUNet, Bf16AgreesWithTheCpu) {
  for (const DType weights : {DType::f32, DType::bf16}) {
    const Numbers numbers{.activations = DType::bf16, .weights = weights, .frozen = weights == DType::bf16};
    expect_close(results(Device::cuda, numbers), results(Device::cpu, numbers), 3e-2);
  }
}

// In f16 with both kinds of weights against f32 on the CPU, which has no f16.
TEST_P(CudaUNet, F16AgreesWithF32) {
  for (const DType weights : {DType::f32, DType::f16}) {
    const bool frozen = weights == DType::f16;
    expect_close(results(Device::cuda, {.activations = DType::f16, .weights = weights, .frozen = frozen}),
                 results(Device::cpu, {.frozen = frozen}), 1e-2);
  }
}

TEST_P(CudaUNet, SavesAndLoadsFromAndToTheDevice) {
  const auto folder =
      std::filesystem::path(testing::TempDir()) / (std::string("cuda_unet_") + GetParam().name);
  const auto network = network_on(Device::cuda, config());
  save_model_folder(folder.string(), *network, "{}", DType::f32);
  const ModelFolder read = load_model_folder(folder.string(), DType::f32, Device::cuda);
  EXPECT_EQ(read.network->device(), Device::cuda);
  const auto before = network->parameters(), after = read.network->parameters();
  for (size_t i = 0; i < before.size(); ++i)
    EXPECT_EQ(after[i].value.value().to_vector(), before[i].value.value().to_vector()) << before[i].name;

  Optimiser optimiser(*network, {});
  std::map<std::string, Tensor> state;
  for (const auto& [name, tensor] : optimiser.state()) state[name] = Tensor::full(tensor.shape(), 3);
  optimiser.load_state(state, 7);  // from the host, as files are read
  for (const auto& [name, tensor] : optimiser.state()) {
    EXPECT_EQ(tensor.device(), Device::cuda);
    EXPECT_EQ(tensor.to_vector(), state[name].to_vector());
  }
  std::filesystem::remove_all(folder);
}

void PrintTo(const Case& network, std::ostream* out) { *out << network.name; }

INSTANTIATE_TEST_SUITE_P(All, CudaUNet,
                         testing::Values(Case{"ddpm", small()}, Case{"adm", small_adm()},
                                         Case{"classes", small_with_classes()}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(CudaModule, WithoutADeviceNothingMoves) {
  if (cuda_available()) GTEST_SKIP() << "there is a device";
  UNet network(small());
  EXPECT_THROW(network.to(Device::cuda), Error);
  EXPECT_EQ(network.device(), Device::cpu);
}

}  // namespace
}  // namespace tw
