#include "apps/training/data_order.h"

#include <numeric>
#include <utility>

#include "tensor/error.h"
#include "tensor/random.h"

namespace tw {

DataOrder::DataOrder(int64_t size, uint64_t seed) : size_(size), seed_(seed) {
  if (size < 1) throw Error(ErrorKind::data, "the data set is empty");
}

int64_t DataOrder::at(int64_t position) {
  const int64_t epoch = position / size_;
  if (epoch != epoch_) shuffle(epoch);
  return order_[static_cast<size_t>(position % size_)];
}

void DataOrder::shuffle(int64_t epoch) {
  order_.resize(static_cast<size_t>(size_));
  std::iota(order_.begin(), order_.end(), 0);
  const RandomKey key{
      .seed = seed_, .sample = static_cast<uint64_t>(epoch), .step = 0, .purpose = Purpose::shuffle};
  for (uint64_t i = static_cast<uint64_t>(size_); i > 1; --i)  // Fisher-Yates
    std::swap(order_[i - 1], order_[random_below(key, i, i)]);
  epoch_ = epoch;
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
