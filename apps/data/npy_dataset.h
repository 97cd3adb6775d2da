// Images in one NumPy array.
#pragma once

#include "apps/data/dataset.h"

namespace tw {

// (n, h, w), (n, h, w, 1) or (n, h, w, 3) of u1 (8 bits), u2 (16 bits), or floats. Floats must lie in [-1,
// 1], where 0 is middle grey, and are kept with 16 bits. No classes.
std::unique_ptr<Dataset> open_npy(const std::string& path, const DatasetOptions& options);

}  // namespace tw
