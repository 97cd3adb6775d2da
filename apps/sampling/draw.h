// Draws images from a U-Net: the network, wrapped for the sampler loop, in batches of seeds.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "apps/image/image.h"
#include "diffusion/sampler/loop.h"
#include "nn/unet/unet.h"
#include "tensor/arena.h"

namespace tw {

struct DrawSettings {
  int64_t height = 32, width = 32, channels = 3;
  int64_t label = -1;                   // class, or negative: unconditional
  double guidance = 1;                  // classifier-free guidance weight
  std::shared_ptr<PlannedArena> arena;  // where a step's memory is planned; null: one of our own
};

// The network as the sampler sees it: row i of the table -> the network's output. What depends on the
// timestep alone is computed here, once for all steps. `network` must outlive the result.
Denoiser denoiser_of(const UNet& network, const SamplerTable& table, int64_t batch,
                     const DrawSettings& settings);

// One image for each seed, (n, h, w, c) f32 on the host: the same whatever else is in the batch. It is drawn
// where the network is.
Tensor draw(const UNet& network, const SamplerTable& table, const std::vector<uint64_t>& seeds,
            const DrawSettings& settings, const std::function<void(const StepView&)>& observe = {});

// The same from start and draws of a file.
Tensor draw(const UNet& network, const SamplerTable& table, NoiseSource& noise, const DrawSettings& settings,
            const std::function<void(const StepView&)>& observe = {});

// Samples (n, h, w, c) f32 in [-1, 1] as n images.
std::vector<Image> images_of(const Tensor& samples, int bit_depth);

}  // namespace tw
