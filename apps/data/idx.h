// MNIST's idx files (http://yann.lecun.com/exdb/mnist: big-endian extents, then bytes), gzipped or not.
#pragma once

#include "apps/data/dataset.h"

namespace tw {

// Unsigned bytes of 3 dimensions (n, h, w) or 4 (n, h, w, c). Labels come from the file whose name has
// "labels" for "images" and "idx1" for "idx3", in the same folder, with or without ".gz"; without it there
// are no classes. Classes are "0" .. the largest label.
std::unique_ptr<Dataset> open_idx(const std::string& path, const DatasetOptions& options);

}  // namespace tw
