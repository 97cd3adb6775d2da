#include "apps/training/step.h"

#include <cmath>

#include "tensor/pool.h"
#include "tensor/transfer.h"

namespace tw {

namespace {

// False if the step has to be left out because the loss is not finite.
bool forward_backward_update(TrainingState& state, int64_t step, double lr, StepReport& report) {
  const TrainingSettings& settings = state.settings;
  const double share = 1.0 / static_cast<double>(settings.accumulate);
  for (int64_t micro = 0; micro < settings.accumulate; ++micro) {
    // 1. Images, and one timestep and one noise for each.
    const ImageBatch batch = [&] {
      const AllocatorScope unplanned(default_pool());  // a data set may keep what it reads
      return state.reader.read(step, micro);
    }();
    const NoisedBatch noised = noise_batch(
        state.schedule, state.objective, to_device(batch.images, state.network.device()), settings.seed,
        static_cast<uint64_t>(step), static_cast<uint64_t>(micro * settings.batch));
    state.network.set_dropout_key(settings.seed, static_cast<uint64_t>(step),
                                  static_cast<uint64_t>(micro * settings.batch));
    // 2. What the network makes of them, and how far that is from the target.
    const Var output = state.network.forward(noised.x_t, noised.timesteps, batch.labels);
    const TrainingLoss loss = training_loss(noised, output);
    report.count(noised, loss, state.schedule.steps(), share);
    // 3. Gradients add up over the micro-batches.
    backward(loss.loss);
  }

  // 4. New weights and their moving average, in one pass over memory.
  report.finite = std::isfinite(report.loss);
  if (!report.finite) return false;
  const Optimiser::Report update = state.optimiser.step(lr, share, &state.ema);
  report.gradient_norm = update.gradient_norm;
  report.finite = update.finite;
  return true;
}

}  // namespace

StepReport training_step(TrainingState& state, int64_t step, double lr) {
  StepReport report;
  state.network.clear_gradients();
  state.memory.step([&] { return forward_backward_update(state, step, lr, report); });
  return report;
}

void StepReport::count(const NoisedBatch& batch, const TrainingLoss& step_loss, int64_t timesteps,
                       double share) {
  loss += share * step_loss.loss.value().item();
  for (size_t i = 0; i < batch.t.size(); ++i) {
    const auto quarter = static_cast<size_t>(4 * batch.t[i] / timesteps);
    quartile_sum[quarter] += step_loss.per_image[i];
    ++quartile_count[quarter];
  }
}

}  // namespace tw
