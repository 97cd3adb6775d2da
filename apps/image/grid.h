// Several images on one sheet.
#pragma once

#include <cstdint>
#include <vector>

#include "apps/image/image.h"

namespace tw {

struct GridOptions {
  int64_t columns = 0;      // 0: the most square sheet
  int64_t padding = 2;      // pixels between images and around the sheet
  int64_t zoom = 1;         // every pixel is drawn zoom x zoom times
  double background = 1.0;  // of the padding and of empty places, 0 (black) .. 1 (white)
};

// Row by row in the order given. Images of different sizes are centred in cells of the largest; grey beside
// RGB and 8 beside 16 bits are widened. Throws when there is none.
Image image_grid(const std::vector<Image>& images, const GridOptions& options = {});

// A row per trajectory: its states from left to right. Throws unless all rows are of one length.
Image image_strip(const std::vector<std::vector<Image>>& rows, int64_t padding = 2, int64_t zoom = 1);

}  // namespace tw
