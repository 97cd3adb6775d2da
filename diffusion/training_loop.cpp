#include "diffusion/training_loop.h"

#include <cmath>
#include <utility>

#include "tensor/error.h"
#include "tensor/pool.h"
#include "tensor/random.h"
#include "tensor/transfer.h"

namespace tw {
namespace {

// The first step fills caches, the second records the memory plan.
constexpr int64_t steps_before_capture = 2;
// Steps whose reports the device keeps before the host reads them.
constexpr int64_t most_queued = 16;

}  // namespace

TrainingLoop::TrainingLoop(UNet& network, Optimiser& optimiser, Ema* ema, const Schedule& schedule,
                           const TrainingParams& params)
    : network_(network),
      optimiser_(optimiser),
      ema_(ema),
      schedule_(schedule),
      params_(params),
      memory_(PlannedArena::on(network.device())),
      repeats_(params.repeat && network.device() == Device::cuda) {
  check(params.batch > 0 && params.accumulate > 0, "training",
        "batch and accumulate must be positive, found ", params.batch, " and ", params.accumulate);
}

void TrainingLoop::step(int64_t step, double learning_rate, const Read& read) {
  network_.clear_gradients();
  if (repeats_) {
    prepare(step, learning_rate, read);
    run_repeated();
    return;
  }
  StepReport report{.step = step};
  memory_.step([&] { return compute(step, learning_rate, read, report); });
  finished_.push_back(report);
}

// False if the step has to be left out because the loss is not finite.
bool TrainingLoop::compute(int64_t step, double learning_rate, const Read& read, StepReport& report) {
  const double share = 1.0 / static_cast<double>(params_.accumulate);
  for (int64_t micro = 0; micro < params_.accumulate; ++micro) {
    // 1. Images, and one timestep and one noise for each.
    const ImageBatch batch = [&] {
      const AllocatorScope unplanned(default_pool());  // a data set may keep what it reads
      return read(micro);
    }();
    const NoisedBatch noised =
        noise_batch(schedule_, params_.objective, to_device(batch.images, network_.device()), params_.seed,
                    static_cast<uint64_t>(step), first_sample(micro));
    network_.set_dropout_key(params_.seed, static_cast<uint64_t>(step), first_sample(micro));
    // 2, 3.
    const TrainingLoss loss = forward_backward(noised, batch.labels);
    report.loss += share * loss.loss.value().item();
    report.count(noised.t, loss.per_image.to_vector(), schedule_.steps());
  }
  // 4. New weights and their moving average, in one pass over memory.
  report.finite = std::isfinite(report.loss);
  if (!report.finite) return false;
  const Optimiser::Report update = optimiser_.step(learning_rate, share, ema_);
  report.gradient_norm = update.gradient_norm;
  report.finite = update.finite;
  report.overflowed = update.overflowed;
  report.loss_scale = update.loss_scale;
  return true;
}

TrainingLoss TrainingLoop::forward_backward(const NoisedBatch& batch, const Tensor& labels) {
  // 2. What the network makes of the noised images, and how far that is from the target.
  const Var output = network_.forward(batch.x_t, batch.timesteps, labels);
  const TrainingLoss loss = training_loss(batch, output);
  // 3. Gradients add up over the micro-batches.
  backward(loss.loss, optimiser_.loss_scale());
  return loss;
}

// The same step in three parts: what comes from the host, what is repeated, and what is read later.
void TrainingLoop::prepare(int64_t step, double learning_rate, const Read& read) {
  if (static_cast<int64_t>(queued_.size()) == most_queued) collect();
  Queued queued{.step = step, .t = {}};
  for (int64_t micro = 0; micro < params_.accumulate; ++micro) {
    const ImageBatch batch = read(micro);
    if (inputs_.empty()) make_inputs(batch);
    Inputs& to = inputs_[static_cast<size_t>(micro)];
    const NoiseDraw draw = draw_noise(schedule_, params_.objective, params_.batch, params_.seed,
                                      static_cast<uint64_t>(step), first_sample(micro));
    queued.t.insert(queued.t.end(), draw.t.begin(), draw.t.end());
    to.images.copy_from(batch.images);
    to.coefficients.copy_from(draw.coefficients);
    to.sinusoids.copy_from(
        network_.sinusoids(Tensor::from(std::vector<float>(draw.t.begin(), draw.t.end()))));
    fill_normal(to.eps, draw.keys);
    check(to.labels.defined() || !batch.labels.defined(), "training",
          "labels were given to a network without classes");
    if (batch.labels.defined())
      to.labels.copy_from(batch.labels);
    else if (to.labels.defined())
      to.labels.fill(static_cast<double>(network_.config().classes));
    if (!to.dropout_keys.defined()) continue;
    network_.set_dropout_key(params_.seed, static_cast<uint64_t>(step), first_sample(micro));
    to.dropout_keys.copy_from(network_.dropout_keys());
  }
  optimiser_.prepare(learning_rate, 1.0 / static_cast<double>(params_.accumulate));
  queued_.push_back(std::move(queued));
}

void TrainingLoop::make_inputs(const ImageBatch& like) {
  const UNetConfig& config = network_.config();
  const int64_t n = params_.batch, accumulate = params_.accumulate;
  const auto empty = [](const Shape& shape, DType dtype) {
    return Tensor::empty(shape, dtype, Device::cuda);
  };
  check(like.images.rank() == 4 && like.images.dim(0) == n && like.images.dtype() == DType::f32, "training",
        "expected ", n, " f32 images (n, h, w, c), found ", dtype_name(like.images.dtype()), " ",
        like.images.shape());
  for (int64_t micro = 0; micro < accumulate; ++micro) {
    const Tensor sinusoids = network_.sinusoids(Tensor::zeros({n}));
    Inputs inputs{.images = empty(like.images.shape(), DType::f32),
                  .eps = empty(like.images.shape(), DType::f32),
                  .coefficients = empty({5, n}, DType::f32),
                  .sinusoids = empty(sinusoids.shape(), sinusoids.dtype()),
                  .labels = {},
                  .dropout_keys = {}};
    if (config.classes > 0) inputs.labels = empty({n}, DType::i32);
    if (config.dropout > 0) inputs.dropout_keys = empty(network_.dropout_keys().shape(), DType::i64);
    inputs_.push_back(inputs);
  }
  losses_ = empty({accumulate}, DType::f32);
  per_image_ = empty({accumulate, n}, DType::f32);
  past_losses_ = empty({most_queued, accumulate}, DType::f32);
  past_per_image_ = empty({most_queued, accumulate, n}, DType::f32);
  past_numbers_ = empty({most_queued, optimiser_.numbers().numel()}, DType::u8);
}

void TrainingLoop::compute_repeated() {
  for (int64_t micro = 0; micro < params_.accumulate; ++micro) {
    const Inputs& from = inputs_[static_cast<size_t>(micro)];
    NoisedBatch noised = mix_noise(params_.objective.prediction, from.images, from.eps, from.coefficients);
    noised.timesteps = from.sinusoids;
    network_.set_dropout_keys_in_memory(from.dropout_keys);
    const TrainingLoss loss = forward_backward(noised, from.labels);
    losses_.slice(0, micro, micro + 1).copy_from(loss.loss.value().reshape({1}));
    per_image_.select(0, micro).copy_from(loss.per_image);
  }
  network_.set_dropout_keys_in_memory({});
  optimiser_.queue(ema_, losses_);
}

void TrainingLoop::run_repeated() {
  const auto planned = [&](const std::function<void()>& body) {
    memory_.step([&] {
      body();
      return true;
    });
  };
  if (ran_ < steps_before_capture) {
    planned([&] { compute_repeated(); });
  } else {
    if (!graph_.captured()) planned([&] { graph_.capture([&] { compute_repeated(); }); });
    graph_.launch();
    optimiser_.changed(ema_);
  }
  ++ran_;
  const auto row = static_cast<int64_t>(queued_.size()) - 1;
  past_losses_.select(0, row).copy_from(losses_);
  past_per_image_.select(0, row).copy_from(per_image_);
  past_numbers_.select(0, row).copy_from(optimiser_.numbers());
}

void TrainingLoop::collect() {
  if (queued_.empty()) return;
  const Tensor losses = to_device(past_losses_, Device::cpu), numbers = to_device(past_numbers_, Device::cpu),
               per_image = to_device(past_per_image_, Device::cpu);
  const double share = 1.0 / static_cast<double>(params_.accumulate);
  for (size_t i = 0; i < queued_.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    StepReport report{.step = queued_[i].step};
    for (const double loss : losses.select(0, row).to_vector()) report.loss += share * loss;
    report.count(queued_[i].t, per_image.select(0, row).to_vector(), schedule_.steps());
    const kernels::UpdateNumbers update = read_numbers(numbers.select(0, row));
    report.finite = update.finite != 0;
    report.overflowed = update.overflowed != 0;
    if (optimiser_.loss_scale().defined()) report.loss_scale = update.loss_scale.scale;
    if (std::isfinite(report.loss)) report.gradient_norm = update.gradient_norm;
    finished_.push_back(report);
  }
  queued_.clear();
}

std::vector<StepReport> TrainingLoop::reports() {
  collect();
  return std::exchange(finished_, {});
}

void StepReport::count(const std::vector<int64_t>& t, const std::vector<double>& per_image,
                       int64_t timesteps) {
  for (size_t i = 0; i < t.size(); ++i) {
    const auto quarter = static_cast<size_t>(4 * t[i] / timesteps);
    quartile_sum[quarter] += per_image[i];
    ++quartile_count[quarter];
  }
}

}  // namespace tw
