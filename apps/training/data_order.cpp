#include "apps/training/data_order.h"

#include <numeric>
#include <utility>

#include "tensor/error.h"
#include "tensor/random.h"

namespace tw {

ImageGroups all_images(int64_t size) {
  if (size < 1) throw Error(ErrorKind::data, "the data set is empty");
  std::vector<int64_t> images(static_cast<size_t>(size));
  std::iota(images.begin(), images.end(), 0);
  return {std::move(images)};
}

ImageGroups images_by_class(const Dataset& data) {
  check(data.classes() > 0, "--balance", "the data set has no classes to balance");
  ImageGroups groups(static_cast<size_t>(data.classes()));
  for (int64_t i = 0; i < data.size(); ++i) groups[static_cast<size_t>(data.label(i))].push_back(i);
  std::erase_if(groups, [](const std::vector<int64_t>& images) { return images.empty(); });
  return groups;
}

DataOrder::DataOrder(ImageGroups groups, uint64_t seed) : seed_(seed) {
  for (std::vector<int64_t>& images : groups) groups_.push_back({.images = std::move(images), .order = {}});
}

int64_t DataOrder::at(int64_t position) {
  const int64_t count = static_cast<int64_t>(groups_.size());
  const size_t turn = static_cast<size_t>(position % count);
  Group& group = groups_[turn];
  const int64_t size = static_cast<int64_t>(group.images.size()), drawn = position / count;
  if (drawn / size != group.epoch) shuffle(turn, drawn / size);
  return group.order[static_cast<size_t>(drawn % size)];
}

void DataOrder::shuffle(size_t turn, int64_t epoch) {
  Group& group = groups_[turn];
  group.order = group.images;
  group.epoch = epoch;
  const RandomKey key{
      .seed = seed_, .sample = static_cast<uint64_t>(epoch), .step = turn, .purpose = Purpose::shuffle};
  for (uint64_t i = group.order.size(); i > 1; --i)  // Fisher-Yates
    std::swap(group.order[i - 1], group.order[random_below(key, i, i)]);
}

bool chance(uint64_t seed, int64_t position, uint64_t draw, double probability) {
  const RandomKey key{.seed = seed,
                      .sample = static_cast<uint64_t>(position),
                      .step = draw,
                      .purpose = Purpose::augmentation};
  constexpr uint64_t fine = uint64_t{1} << 32;
  return static_cast<double>(random_below(key, 0, fine)) < probability * static_cast<double>(fine);
}

}  // namespace tw
