// Colour quantisation for GIF: at most 256 colours that stand for an image's own.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "apps/image/image.h"

namespace tw {

struct Indexed {
  std::vector<std::array<uint8_t, 3>> palette;  // 1 .. 256 colours
  std::vector<uint8_t> indices;                 // (height, width)
};

// Exact when the image has at most 256 colours, else median cut (Heckbert 1982, "Color image quantization for
// frame buffer display"): the box with the largest squared error is split at the mean of its widest channel,
// and every box is drawn in its mean colour. The image is 8-bit grey or RGB.
Indexed quantise_colours(const Image& image);

}  // namespace tw
