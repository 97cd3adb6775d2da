#include "apps/image/image.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace tw {

Image make_image(int64_t height, int64_t width, int64_t channels, int bit_depth) {
  check(channels == 1 || channels == 3, "image", "channels must be 1 or 3, found ", channels);
  check(bit_depth == 8 || bit_depth == 16, "image", "bit depth must be 8 or 16, found ", bit_depth);
  check(height > 0 && width > 0, "image", "extents must be positive, found ", height, " x ", width);
  check(height <= (int64_t{1} << 20) && width <= (int64_t{1} << 20), "image", height, " x ", width,
        " is too large");
  Image image{height, width, channels, bit_depth, {}, {}};
  image.pixels.resize(static_cast<size_t>(height * width * channels));
  return image;
}

uint16_t quantise(float value, int bit_depth) {
  const double unit = static_cast<double>(value) / 2 + 0.5;
  if (!(unit > 0)) return 0;
  return static_cast<uint16_t>(std::nearbyint(std::min(unit, 1.0) * (bit_depth == 16 ? 65535.0 : 255.0)));
}

void to_float(const Image& image, float* hwc) {
  const double maximum = image.maximum();
  for (size_t i = 0; i < image.pixels.size(); ++i)
    hwc[i] = static_cast<float>(2.0 * image.pixels[i] / maximum - 1.0);
}

std::vector<float> to_float(const Image& image) {
  std::vector<float> result(image.pixels.size());
  to_float(image, result.data());
  return result;
}

Image from_float(const float* hwc, int64_t height, int64_t width, int64_t channels, int bit_depth) {
  Image image = make_image(height, width, channels, bit_depth);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = quantise(hwc[i], bit_depth);
  return image;
}

Image widen(const Image& image, int64_t channels, int bit_depth) {
  check(channels >= image.channels && bit_depth >= image.bit_depth, "image", image.channels, " channels of ",
        image.bit_depth, " bits do not fit in ", channels, " of ", bit_depth);
  Image result = make_image(image.height, image.width, channels, bit_depth);
  result.text = image.text;
  const uint16_t factor = bit_depth > image.bit_depth ? 257 : 1;
  const size_t repeat = static_cast<size_t>(channels / image.channels);
  for (size_t i = 0; i < result.pixels.size(); ++i)
    result.pixels[i] = static_cast<uint16_t>(image.pixels[i / repeat] * factor);
  return result;
}

}  // namespace tw
