// A batch of training images, put together from the data set in the order of the run's seed.
#pragma once

#include <cstdint>

#include "apps/data/dataset.h"
#include "apps/training/data_order.h"
#include "apps/training/settings.h"
#include "diffusion/training_loop.h"

namespace tw {

class BatchReader {
 public:
  BatchReader(Dataset& data, const TrainingSettings& settings);

  // Micro-batch `micro` of step `step`; the same whenever it is asked for.
  ImageBatch read(int64_t step, int64_t micro);
  double epoch_of(int64_t step) const;  // how often every image has been seen

 private:
  Dataset& data_;
  const TrainingSettings& settings_;
  DataOrder order_;
};

}  // namespace tw
