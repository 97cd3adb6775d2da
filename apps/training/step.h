// One training step, from images to new weights. Ho, Jain & Abbeel 2020, algorithm 1.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "apps/training/batch.h"
#include "diffusion/objective.h"
#include "diffusion/schedule.h"
#include "nn/ema.h"
#include "nn/optimiser.h"
#include "nn/unet/unet.h"
#include "tensor/arena.h"

namespace tw {

// What a step did, for the log. The loss rises steeply towards t = 0, so its mean says little of where a
// model still learns: it is kept by quarters of the timesteps as well.
struct StepReport {
  double loss = 0;  // the weighted objective, averaged over the step's images
  std::array<double, 4> quartile_sum{};
  std::array<int64_t, 4> quartile_count{};
  double gradient_norm = 0;  // before clipping
  bool finite = true;        // otherwise the weights were left as they were

  void count(const NoisedBatch& batch, const TrainingLoss& loss, int64_t timesteps, double share);
};

// Everything that a step reads and changes.
struct TrainingState {
  UNet& network;
  Optimiser& optimiser;
  Ema& ema;
  const Schedule& schedule;
  ObjectiveParams objective;
  BatchReader& reader;
  const TrainingSettings& settings;
  PlannedLoop
      memory;  // on the network's device, of forward, backward and update: the same allocations in every step
};

StepReport training_step(TrainingState& state, int64_t step, double lr);

}  // namespace tw
