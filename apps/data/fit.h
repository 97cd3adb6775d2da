// What every source of images does before it stores one, and how it speaks of one that it cannot read.
#pragma once

#include <string>

#include "apps/data/dataset.h"
#include "apps/image/image.h"

namespace tw {

// The central square, resized to resolution x resolution (apps/image/resize.h) and rounded to the image's own
// bit depth. The image itself when resolution is 0 or it has that size.
Image fit(const Image& image, int64_t resolution);

// options.warn, or a line on stderr.
void warn(const DatasetOptions& options, const std::string& message);

}  // namespace tw
