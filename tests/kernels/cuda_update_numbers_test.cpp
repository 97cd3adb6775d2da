// Adam's step whose numbers are worked out on a CUDA device, captured once and repeated, against the step
// with numbers of the host: clipping, warm-up of the average and of the learning rate, steps that are
// skipped.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/op/update_numbers.h"
#include "tensor/cuda_graph.h"
#include "tensor/cuda_library.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"

namespace tw::kernels {
namespace {

constexpr int64_t n = 5001;

class CudaUpdateNumbers : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  }
  // The gradient and the loss of a step: small, large enough to be clipped, and of steps that are left out.
  static Tensor gradient(int step) {
    Tensor g = random_tensor({n}, DType::f64, static_cast<unsigned>(step), step % 2 ? 1 : 0.001);
    if (step == 3) g.data<double>()[n - 1] = std::numeric_limits<double>::infinity();
    return g.to(GetParam());
  }
  static double loss(int step) { return step == 5 ? std::nan("") : 0.5 * step; }
};

TEST_P(CudaUpdateNumbers, RepeatedStepsAreTheStepsOfTheHost) {
  const DType real = GetParam() == DType::f64 ? DType::f64 : DType::f32;
  for (const auto warmup : {EmaDecay::Warmup::none, EmaDecay::Warmup::ratio, EmaDecay::Warmup::power}) {
    const EmaDecay decay{.decay = 0.9, .warmup = warmup};
    const AdamParams settings{.beta2 = 0.99, .weight_decay = 0.1};
    const auto tensors = [&](Device device) {
      std::vector<Tensor> all{to_device(random_tensor({n}, real, 77), device)};
      for (int k = 0; k < 3; ++k) all.push_back(to_device(Tensor::zeros({n}, real), device));
      return all;
    };
    const std::vector<Tensor> host = tensors(Device::cpu), device = tensors(Device::cuda);
    const auto views = [](const std::vector<Tensor>& t, const Tensor& g) {
      return AdamTensors{t[0].view(), g.view(), t[1].view(), t[2].view(), t[3].view(), {}};
    };
    const UpdateNumbers first{.gradient_scale = 0.5, .steps = 10};
    Tensor bytes = Tensor::empty({static_cast<int64_t>(sizeof first)}, DType::u8);
    std::memcpy(bytes.data<uint8_t>(), &first, sizeof first);
    Tensor numbers = to_device(bytes, Device::cuda), g = to_device(gradient(0), Device::cuda),
           losses = to_device(Tensor::zeros({2}, real), Device::cuda),
           updates = to_device(Tensor::from(std::vector<int64_t>{4}), Device::cuda);
    CudaGraph graph;
    graph.capture([&] {
      const AdamTensors one = views(device, g);
      update_numbers({.adam = settings, .clip_norm = 1, .ema = decay}, std::span(&one.gradient, 1),
                     losses.view(), numbers.view(), updates.view());
      adam_step(numbers.view(), std::span(&one, 1));
    });
    int64_t steps = 10, averaged = 4;
    for (int step = 0; step < 7; ++step) {
      const double rate = 1e-2 * (step + 1);
      g.copy_from(gradient(step));
      losses.copy_from(Tensor::from(std::vector<double>{1, loss(step)}));
      std::memcpy(bytes.data<uint8_t>(), &rate, sizeof rate);
      numbers.slice(0, 0, sizeof rate).copy_from(bytes.slice(0, 0, sizeof rate));
      graph.launch();

      double norm = 0;
      for (const double value : gradient(step).to_vector()) norm += value * value;
      norm = 0.5 * std::sqrt(norm);
      const bool finite = std::isfinite(norm) && std::isfinite(loss(step));
      UpdateNumbers left;
      std::memcpy(&left, to_device(numbers, Device::cpu).data<uint8_t>(), sizeof left);
      EXPECT_EQ(left.finite != 0, finite) << step;
      if (std::isfinite(norm)) {
        EXPECT_NEAR(left.gradient_norm, norm, 1e-5 * norm);
      }
      if (finite) {
        AdamParams params = settings;
        params.lr = rate;
        params.step = ++steps;
        params.grad_scale = 0.5 * (norm > 1 ? 1 / (norm + 1e-6) : 1);
        params.ema_decay = decay.at(averaged++);
        const Tensor on_host = GetParam() == DType::f16 ? gradient(step).to(real) : gradient(step);
        adam_step(params, views(host, on_host));
      }
      EXPECT_EQ(left.steps, steps);
      EXPECT_EQ(static_cast<int64_t>(updates.item()), averaged);
      for (size_t k = 0; k < host.size(); ++k)
        EXPECT_LE(max_error(to_device(device[k], Device::cpu), host[k]), real == DType::f64 ? 1e-12 : 1e-5)
            << "tensor " << k << " after step " << step;
    }
  }
}

TEST_P(CudaUpdateNumbers, WhatIsMissingOrOutOfRangeIsSaid) {
  const Tensor g = to_device(gradient(0), Device::cuda),
               numbers = Tensor::zeros({8}, DType::u8, Device::cuda);
  const View gradient = g.view();
  EXPECT_THROW(update_numbers({}, std::span(&gradient, 1), {}, numbers.view(), {}), Error);
  const Tensor whole = Tensor::zeros({static_cast<int64_t>(sizeof(UpdateNumbers))}, DType::u8, Device::cuda);
  EXPECT_THROW(update_numbers({.adam = {.beta1 = 2}}, std::span(&gradient, 1), {}, whole.view(), {}), Error);
  EXPECT_THROW(update_numbers({}, std::span(&gradient, 1), {}, whole.view(), numbers.view()), Error);
  update_numbers({}, std::span(&gradient, 1), {}, whole.view(), {});
}

INSTANTIATE_TEST_SUITE_P(, CudaUpdateNumbers,
                         testing::Values(DType::f32, DType::f64, DType::bf16, DType::f16),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

}  // namespace
}  // namespace tw::kernels
