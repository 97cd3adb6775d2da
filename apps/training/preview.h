// Pictures of a run in progress: what the network draws, and the loss so far.
#pragma once

#include <filesystem>

#include "apps/image/image.h"
#include "apps/sampling/model_card.h"
#include "apps/training/settings.h"
#include "nn/unet/unet.h"

namespace tw {

// A grid of --sample-count images with the seeds 0, 1, ...: the same noise at every step of the run, and
// no class.
void write_preview(UNet& network, const ModelCard& card, const TrainingSettings& settings,
                   const std::filesystem::path& file);

// The losses of a log.jsonl over its steps, in all and by timestep quartile.
Image loss_plot(const std::filesystem::path& log);
void write_loss_plot(const std::filesystem::path& log, const std::filesystem::path& file);

}  // namespace tw
