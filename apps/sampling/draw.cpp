#include "apps/sampling/draw.h"

#include "autograd/ops/reshape.h"
#include "diffusion/guidance.h"
#include "tensor/transfer.h"

namespace tw {
namespace {

// The time table of some steps, made anew when a loop leaves them: that of the 1000 steps of a large network
// would be 70 MB.
struct PartOfSchedule {
  static constexpr int64_t steps = 64;
  int64_t first = 0;
  TimeTable table;

  void load(const UNet& network, const std::vector<float>& timesteps, const Tensor& labels, int64_t step) {
    const AllocatorScope unplanned(lasting_allocator(network.device()));  // it outlives the step
    first = step / steps * steps;
    const auto begin = timesteps.begin() + first, end = timesteps.end();
    table = network.time_table({begin, end - begin > steps ? begin + steps : end}, labels);
  }
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
    auto part = std::make_shared<PartOfSchedule>();
    return [&network, timesteps, labels, part, mean_only](const Var& x, int64_t step) {
      if (step < part->first || step >= part->first + part->table.rows)
        part->load(network, timesteps, labels, step);
      const Var output = network.forward(x, part->table, step - part->first);
      return mean_only ? slice(output, -1, 0, x.dim(-1)) : output;
    };
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
  return to_device(sample(denoiser, table, x_T, noise, options), Device::cpu);
}

Tensor draw(const UNet& network, const SamplerTable& table, const std::vector<uint64_t>& seeds,
            const DrawSettings& settings, const std::function<void(const StepView&)>& observe) {
  SeededNoise noise(seeds, Shape{settings.height, settings.width, settings.channels});
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
