#include <chrono>

#include "apps/data/dataset.h"
#include "apps/demo/demo.h"
#include "apps/image/grid.h"
#include "apps/sampling/draw.h"
#include "diffusion/inverse/dps.h"
#include "diffusion/inverse/mask.h"
#include "diffusion/metric/psnr.h"
#include "diffusion/metric/ssim.h"
#include "diffusion/sampler/ddpm.h"
#include "diffusion/timesteps.h"
#include "tensor/error.h"

namespace tw {
namespace {

constexpr double noise_sigma = 0.05;  // in the units of [-1, 1]
const std::vector<std::string> picture_names{"grinning face", "hot beverage", "flag: Sweden"};

// (1, h, w, 3) each, in [-1, 1].
std::vector<Tensor> real_pictures(int64_t resolution, std::vector<int>& labels) {
  const auto emoji = open_dataset("emoji", {.resolution = resolution});
  std::vector<Tensor> pictures;
  for (const std::string& name : picture_names) {
    int64_t index = 0;
    while (index < emoji->size() && emoji->name(index) != name) ++index;
    if (index == emoji->size()) fail_data("emoji", "there is no picture named '", name, "'");
    Tensor picture = Tensor::empty({1, resolution, resolution, 3});
    emoji->read(index, picture.data<float>());
    pictures.push_back(picture);
    labels.push_back(emoji->label(index));
  }
  return pictures;
}

}  // namespace

Restoration restore_pictures(DiffusionModel& model, const DemoSettings& settings) {
  const auto begin = std::chrono::steady_clock::now();
  const int64_t size = model.network->config().resolution;
  model.network->freeze();
  const Schedule schedule(model.card.schedule);
  const SamplerTable table = ddpm_table(
      schedule, {.timesteps = sampling_timesteps(Spacing::trailing, settings.restore_steps, schedule.steps()),
                 .prediction = model.card.prediction});
  const auto A =
      std::make_shared<Mask>(box_mask(size, size, size * 5 / 16, size * 5 / 16, size * 3 / 8, size * 3 / 8));

  Restoration result;
  std::vector<Image> cells;
  std::vector<int> labels;
  const std::vector<Tensor> pictures = real_pictures(size, labels);
  for (size_t i = 0; i < pictures.size(); ++i) {
    const Tensor& truth = pictures[i];
    const std::vector<uint64_t> seeds{settings.seed + i};
    const Tensor y = A->apply(add_measurement_noise(truth, noise_sigma, seeds));
    SeededNoise noise(seeds, Shape{size, size, 3});
    DrawSettings draw_settings;
    draw_settings.height = draw_settings.width = size;
    if (model.network->config().classes > 0) draw_settings.label = labels[i];
    const Denoiser denoiser = denoiser_of(*model.network, table, 1, draw_settings);
    const Tensor x = dps(denoiser, table, *A, y, {.scale = 1}, noise.start(), noise);
    result.rows.push_back(
        {picture_names[i], psnr(y, truth)[0], psnr(x, truth)[0], ssim(y, truth)[0], ssim(x, truth)[0]});
    for (const Tensor& shown : {truth, y, x}) cells.push_back(images_of(shown, 8)[0]);
  }
  result.sheet = image_grid(cells, {.columns = 3, .padding = 4, .zoom = 4});
  result.definitions = definition(PsnrParams{}) + ". " + definition(SsimParams{}) + ".";
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace tw
