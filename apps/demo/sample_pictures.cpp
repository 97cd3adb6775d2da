#include <algorithm>
#include <chrono>
#include <filesystem>

#include "apps/demo/demo.h"
#include "apps/image/gif.h"
#include "apps/image/grid.h"
#include "apps/sampling/draw.h"
#include "apps/sampling/sampler_settings.h"

namespace tw {
SampledPictures sample_pictures(const DiffusionModel& model, const DemoSettings& settings) {
  const auto begin = std::chrono::steady_clock::now();
  const UNetConfig& config = model.network->config();
  const Schedule schedule(model.card.schedule);
  SamplerSettings sampler;
  // The fresh noise of every step washes out the errors of a small network; DDIM carries them to the end.
  sampler.sampler = "ddpm";
  sampler.steps = settings.steps;
  const SamplerTable table = make_table(schedule, model.card.prediction, model.card.sampling, sampler);
  DrawSettings draw_settings;
  draw_settings.height = draw_settings.width = config.resolution;
  draw_settings.channels = config.in_channels;
  draw_settings.guidance = settings.guidance;

  SampledPictures result;
  std::vector<Image> all, frames;
  std::vector<std::vector<Image>> trajectories;
  const int64_t rows = std::max<int64_t>(1, config.classes);
  for (int64_t row = 0; row < rows; ++row) {
    draw_settings.label = config.classes > 0 ? row : -1;
    result.classes.push_back(config.classes > 0 ? model.card.class_names[static_cast<size_t>(row)]
                                                : "unconditional");
    std::vector<uint64_t> seeds;
    for (int64_t i = 0; i < settings.per_class; ++i)
      seeds.push_back(settings.seed + static_cast<uint64_t>(row * settings.per_class + i));
    // The first picture of each of the first rows is watched on its way.
    const bool watched = row < 4;
    if (watched) trajectories.emplace_back();
    auto observe = [&](const StepView& view) {
      if (!watched) return;
      const Image first = images_of(view.x0.slice(0, 0, 1), model.card.bit_depth)[0];
      const bool last = view.step + 1 == view.steps;
      if (last || view.step % std::max<int64_t>(1, view.steps / 8) == 0) trajectories.back().push_back(first);
      if (row == 0 && (last || view.step % std::max<int64_t>(1, view.steps / 40) == 0))
        frames.push_back(image_grid(images_of(view.x0, model.card.bit_depth), {.columns = 3, .zoom = 3}));
    };
    const Tensor x = draw(*model.network, table, seeds, draw_settings, observe);
    for (Image& image : images_of(x, model.card.bit_depth)) all.push_back(std::move(image));
  }
  result.pictures = static_cast<int64_t>(all.size());
  result.sheet = image_grid(all, {.columns = settings.per_class, .zoom = 2});
  result.strip = image_strip(trajectories, 2, 2);
  write_gif((std::filesystem::path(settings.out) / "trajectory.gif").string(), frames);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace tw
