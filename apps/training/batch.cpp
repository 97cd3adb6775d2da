#include "apps/training/batch.h"

#include <algorithm>

namespace tw {

namespace {
void mirror(float* hwc, int64_t height, int64_t width, int64_t channels) {
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width / 2; ++x)
      std::swap_ranges(hwc + (y * width + x) * channels, hwc + (y * width + x + 1) * channels,
                       hwc + (y * width + width - 1 - x) * channels);
}
}  // namespace

BatchReader::BatchReader(Dataset& data, const TrainingSettings& settings)
    : data_(data),
      settings_(settings),
      order_(settings.balance ? images_by_class(data) : all_images(data.size()), settings.seed) {}

ImageBatch BatchReader::read(int64_t step, int64_t micro) {
  const int64_t n = settings_.batch, first = (step * settings_.accumulate + micro) * n;
  const int64_t height = data_.height(), width = data_.width(), channels = data_.channels();
  ImageBatch batch{.images = Tensor::empty({n, height, width, channels}), .labels = {}};
  if (settings_.conditional) batch.labels = Tensor::empty({n}, DType::i32);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t position = first + i, index = order_.at(position);
    float* image = batch.images.data<float>() + i * height * width * channels;
    data_.read(index, image);
    if (settings_.flip && chance(settings_.seed, position, 0, 0.5)) mirror(image, height, width, channels);
    if (!settings_.conditional) continue;
    const bool hidden = chance(settings_.seed, position, 1, settings_.drop_class);
    batch.labels.data<int32_t>()[i] = static_cast<int32_t>(hidden ? data_.classes() : data_.label(index));
  }
  return batch;
}

double BatchReader::epoch_of(int64_t step) const {
  return static_cast<double>(step * settings_.accumulate * settings_.batch) /
         static_cast<double>(data_.size());
}

}  // namespace tw
