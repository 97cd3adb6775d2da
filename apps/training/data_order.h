// In which order a training run sees its images: every epoch of a group is a shuffle of that group, decided
// by the seed and the epoch alone, and the groups take turns. One group of all images is the usual order; one
// group a class shows every class equally often. A run can be continued from nothing but its step number.
#pragma once

#include <cstdint>
#include <vector>

#include "apps/data/dataset.h"

namespace tw {

using ImageGroups = std::vector<std::vector<int64_t>>;

ImageGroups all_images(int64_t size);  // throws unless size >= 1
ImageGroups images_by_class(
    const Dataset& data);  // classes without images are left out; throws without labels

class DataOrder {
 public:
  DataOrder(ImageGroups groups, uint64_t seed);  // no group may be empty

  // The image at `position` of the endless sequence: of group position % groups.
  int64_t at(int64_t position);

 private:
  struct Group {
    std::vector<int64_t> images, order;
    int64_t epoch = -1;  // that `order` is a shuffle for
  };
  void shuffle(size_t group, int64_t epoch);

  std::vector<Group> groups_;
  uint64_t seed_;
};

// Whether the image at `position` is mirrored, and whether its class is hidden, each with the given chance.
bool chance(uint64_t seed, int64_t position, uint64_t draw, double probability);

}  // namespace tw
