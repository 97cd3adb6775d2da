#include "apps/training/preview.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "apps/image/grid.h"
#include "apps/image/png.h"
#include "apps/report/plot.h"
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

void write_loss_plot(const std::filesystem::path& log, const std::filesystem::path& file) {
  write_png(file.string(), loss_plot(log));
}

Image loss_plot(const std::filesystem::path& log) {
  std::array<Series, 5> series;
  const char* names[] = {"all", "t in 1st quarter", "2nd", "3rd", "4th"};
  const auto add = [](Series& to, double step, const nlohmann::json& value) {
    if (!value.is_number()) return;
    to.x.push_back(step);
    to.y.push_back(value.get<double>());
  };
  std::ifstream in(log);
  for (std::string line; std::getline(in, line);) {
    const auto entry = nlohmann::json::parse(line, nullptr, false);
    if (!entry.is_object() || !entry.contains("loss_quartiles") || !entry.contains("loss")) continue;
    const double step = entry.value("step", 0.0);
    add(series[0], step, entry["loss"]);
    for (size_t q = 0; q < 4 && q < entry["loss_quartiles"].size(); ++q)
      add(series[q + 1], step, entry["loss_quartiles"][q]);
  }
  std::vector<Series> lines;
  for (size_t i = 0; i < series.size(); ++i) {
    Series smooth{
        .name = names[i], .x = series[i].x, .y = smoothed(series[i].y, 10), .colour = static_cast<int>(i)};
    if (i == 0) lines.push_back({.name = "", .x = series[i].x, .y = series[i].y, .faint = true, .colour = 0});
    lines.push_back(std::move(smooth));
  }
  return plot(lines, {.title = "Training loss, in all and by timestep",
                      .x_label = "step",
                      .y_label = "loss",
                      .log_y = true});
}

}  // namespace tw
