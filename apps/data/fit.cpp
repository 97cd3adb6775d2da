#include "apps/data/fit.h"

#include <algorithm>
#include <iostream>

#include "apps/image/resize.h"

namespace tw {

Image fit(const Image& image, int64_t resolution) {
  if (resolution == 0 || (image.height == resolution && image.width == resolution)) return image;
  const int64_t side = std::min(image.height, image.width);
  const int64_t top = (image.height - side) / 2, left = (image.width - side) / 2;
  Image square = make_image(side, side, image.channels, image.bit_depth);
  for (int64_t y = 0; y < side; ++y)
    std::copy_n(image.pixels.begin() + ((top + y) * image.width + left) * image.channels,
                side * image.channels, square.pixels.begin() + y * side * image.channels);
  const std::vector<float> resized =
      resize_image(to_float(square), side, side, image.channels, resolution, resolution);
  return from_float(resized.data(), resolution, resolution, image.channels, image.bit_depth);
}

void warn(const DatasetOptions& options, const std::string& message) {
  if (options.warn)
    options.warn(message);
  else
    std::cerr << "warning: " << message << "\n";
}

}  // namespace tw
