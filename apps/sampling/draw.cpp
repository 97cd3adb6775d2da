#include "apps/sampling/draw.h"

#include "autograd/ops/reshape.h"
#include "diffusion/guidance.h"
#include "kernels/op/profile.h"
#include "tensor/transfer.h"

namespace tw {
namespace {

// The time table of some steps, made anew when a loop leaves them: that of the 1000 steps of a large network
// would be 70 MB. On a device the step's row lies where a repeated step finds it, which picks it itself.
class PartOfSchedule {
 public:
  PartOfSchedule(const UNet& network, std::vector<float> timesteps, Tensor labels)
      : network_(network), timesteps_(std::move(timesteps)), labels_(std::move(labels)) {}

  void prepare(int64_t step) {
    load(step);
    selected_ = false;
  }

  void select(const Tensor& row) {
    current_.select(row);
    selected_ = true;
  }

  Var evaluate(const Var& x, int64_t step) {
    load(step);
    if (!on_device()) return network_.forward(x, table_, step - first_);
    if (!selected_) current_.set(step - first_);
    return network_.forward(x, current_.table(), 0);
  }

 private:
  static constexpr int64_t steps = 64;

  bool on_device() const { return network_.device() != Device::cpu; }

  // The part that has this step.
  void load(int64_t step) {
    if (step >= first_ && step < first_ + table_.rows) return;
    const AllocatorScope unplanned(lasting_allocator(network_.device()));  // it outlives the step
    first_ = step / steps * steps;
    const auto begin = timesteps_.begin() + first_, end = timesteps_.end();
    table_ = network_.time_table({begin, end - begin > steps ? begin + steps : end}, labels_);
    if (on_device()) current_.load(table_);
  }

  const UNet& network_;
  std::vector<float> timesteps_;
  Tensor labels_;
  int64_t first_ = 0;
  bool selected_ = false;  // by the step that runs
  TimeTable table_;
  CurrentTimes current_;
};

}  // namespace

Denoiser denoiser_of(const UNet& network, const SamplerTable& table, int64_t batch,
                     const DrawSettings& settings) {
  const int64_t classes = network.config().classes;
  check(settings.label < classes || settings.label < 0, "--class", "the model has ", classes,
        " classes, got ", settings.label);
  // A network that has learned a variance too gives it in further channels.
  const bool mean_only =
      table.learned == LearnedVariance::none && network.config().out_channels > network.config().in_channels;
  std::vector<float> timesteps;
  for (int64_t t : table.timesteps()) timesteps.push_back(static_cast<float>(t));
  const auto of_class = [&](int64_t label) -> Denoiser {
    Tensor labels;
    if (classes > 0) labels = Tensor::full({batch}, static_cast<double>(label), DType::i32);
    const auto part = std::make_shared<PartOfSchedule>(network, timesteps, labels);
    return {[part, mean_only](const Var& x, int64_t step) {
              const Var output = part->evaluate(x, step);
              return mean_only ? slice(output, -1, 0, x.dim(-1)) : output;
            },
            [part](int64_t step) { part->prepare(step); }, [part](const Tensor& row) { part->select(row); }};
  };
  if (settings.label < 0) return of_class(classes);
  if (settings.guidance == 1) return of_class(settings.label);
  return classifier_free(of_class(settings.label), of_class(classes), settings.guidance);
}

Tensor draw(const UNet& network, const SamplerTable& table, NoiseSource& noise, const DrawSettings& settings,
            const std::function<void(const StepView&)>& observe) {
  const NoGrad no_grad;
  const Tensor x_T = to_device(noise.start(), network.device());
  const Denoiser denoiser = denoiser_of(network, table, x_T.dim(0), settings);
  LoopOptions options;
  options.observe = observe;
  options.scope = planned_steps(settings.arena ? settings.arena : PlannedArena::on(network.device()));
  options.repeat = !kernels::Profile::current();  // which times ops one by one
  return to_device(sample(denoiser, table, x_T, noise, options), Device::cpu);
}

Tensor draw(const UNet& network, const SamplerTable& table, const std::vector<uint64_t>& seeds,
            const DrawSettings& settings, const std::function<void(const StepView&)>& observe) {
  SeededNoise noise(seeds, Shape{settings.height, settings.width, settings.channels}, network.device());
  return draw(network, table, noise, settings, observe);
}

std::vector<Image> images_of(const Tensor& samples, int bit_depth) {
  const Tensor dense = to_device(samples.contiguous(), Device::cpu);
  const int64_t size = samples.numel() / samples.dim(0);
  std::vector<Image> images;
  for (int64_t i = 0; i < samples.dim(0); ++i)
    images.push_back(from_float(dense.data<float>() + i * size, samples.dim(1), samples.dim(2),
                                samples.dim(3), bit_depth));
  return images;
}

}  // namespace tw
