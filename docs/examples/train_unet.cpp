// Trains a small U-Net to predict the noise in pictures of discs.
#include <cstdio>

#include "diffusion/objective.h"
#include "nn/optimiser.h"
#include "nn/unet/unet.h"

tw::Tensor discs(int64_t n, int64_t size, int64_t step) {  // (n, h, w, c) in [-1, 1]
  tw::Tensor x = tw::Tensor::full({n, size, size, 3}, 1);
  for (int64_t i = 0; i < n * size * size; ++i) {
    const int64_t y = i / size % size, column = i % size, radius = 2 + (i / (size * size) + step) % 5;
    if ((y - 8) * (y - 8) + (column - 8) * (column - 8) <= radius * radius) x.data<float>()[3 * i] = -1;
  }
  return x;
}

int main() {
  tw::UNetConfig config = tw::unet_preset("tiny");
  config.resolution = 16;
  tw::UNet net(config, /*seed=*/0);
  tw::Optimiser optimiser(net, {.clip_norm = 1});
  tw::Ema ema(net, {});
  const tw::Schedule schedule({.kind = tw::BetaSchedule::squaredcos_cap_v2});

  for (int64_t step = 0; step < 60; ++step) {
    const tw::NoisedBatch batch = tw::noise_batch(schedule, {}, discs(16, 16, step), /*seed=*/0, step);
    const tw::Var noise = net.forward(batch.x_t, batch.timesteps);
    const tw::Var loss = tw::training_loss(batch, noise).loss;
    tw::backward(loss);
    optimiser.step(/*learning_rate=*/2e-3, /*gradient_scale=*/1, &ema);
    if (step % 10 == 9) std::printf("step %3d  loss %.3f\n", static_cast<int>(step + 1), loss.value().item());
  }
}
