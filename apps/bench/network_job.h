// The jobs of tw-bench on a U-Net: a sampling step, one with a gradient to the image, a training step.
#pragma once

#include <cstdint>
#include <string>

#include "apps/bench/pace.h"
#include "nn/unet/unet.h"
#include "tensor/tensor.h"

namespace tw {

struct NetworkJob {
  std::string model = "ddpm-cifar10";  // a preset, CONFIG.json, or a model folder with its weights
  std::string mode = "sample";         // sample, dps, train
  std::string precision = "f32";       // bf16: activations, and frozen weights
  Device device = Device::cpu;
  int64_t resolution = 0;  // of the images; 0: the model's. A model folder keeps its own

  std::unique_ptr<UNet> network() const;
};

// Runs steps of the job on `batch` images until the pace has enough. Returns the nodes of the graph that a
// step on a device was captured as, 0 if it was not.
int64_t run_steps(const NetworkJob& job, UNet& network, int64_t batch, Pace& pace);

// One step of the job on the inputs of a file, for comparison with an oracle. In `inputs`: x (n, c, h, w),
// t (n) and v, of the shape of x. In `outputs`: sample: y = network(x, t). dps: also dx, the gradient of
// <v, y> to x, weights frozen. train: y, loss = mean (y - v)^2, and its gradient to conv_in.weight
// (out, in, kh, kw) as dw.
void check_step(const NetworkJob& job, UNet& network, const std::string& inputs, const std::string& outputs);

}  // namespace tw
