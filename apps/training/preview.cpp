#include "apps/training/preview.h"

#include <algorithm>
#include <vector>

#include "apps/image/grid.h"
#include "apps/image/png.h"
#include "apps/sampling/draw.h"
#include "apps/sampling/sampler_settings.h"

namespace tw {

void write_preview(UNet& network, const ModelCard& card, const TrainingSettings& settings,
                   const std::filesystem::path& file) {
  const Schedule schedule(card.schedule);
  SamplerSettings sampler;
  sampler.steps = settings.sample_steps;
  const SamplerTable table = make_table(schedule, card.prediction, card.sampling, sampler);
  DrawSettings draw_settings;
  draw_settings.height = draw_settings.width = settings.resolution;
  draw_settings.channels = card.channels;

  constexpr int64_t batch = 8;
  std::vector<Image> images;
  for (int64_t first = 0; first < settings.sample_count; first += batch) {
    std::vector<uint64_t> seeds;
    for (int64_t i = first; i < std::min(first + batch, settings.sample_count); ++i)
      seeds.push_back(static_cast<uint64_t>(i));
    const Tensor samples = draw(network, table, seeds, draw_settings);
    for (int64_t i = 0; i < samples.dim(0); ++i)
      images.push_back(from_float(samples.select(0, i).data<float>(), samples.dim(1), samples.dim(2),
                                  samples.dim(3), static_cast<int>(card.bit_depth)));
  }
  std::filesystem::create_directories(file.parent_path());
  write_png(file.string(), image_grid(images));
}

void write_loss_plot(const std::filesystem::path&, const std::filesystem::path&) {}

}  // namespace tw
