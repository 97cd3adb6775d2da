// In which order a training run sees its images: every epoch is a shuffle of the whole data set, decided by
// the seed and the epoch alone. So a run can be continued from nothing but its step number.
#pragma once

#include <cstdint>
#include <vector>

namespace tw {

class DataOrder {
 public:
  DataOrder(int64_t size, uint64_t seed);  // throws unless size >= 1

  // The image at `position` of the endless sequence; epoch = position / size.
  int64_t at(int64_t position);

 private:
  void shuffle(int64_t epoch);

  int64_t size_;
  uint64_t seed_;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;  // of epoch_
};

// Whether the image at `position` is mirrored, and whether its class is hidden, each with the given chance.
bool chance(uint64_t seed, int64_t position, uint64_t draw, double probability);

}  // namespace tw
