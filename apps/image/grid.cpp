#include "apps/image/grid.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace tw {
namespace {

void draw(const Image& source, int64_t top, int64_t left, int64_t zoom, Image& sheet) {
  for (int64_t y = 0; y < source.height * zoom; ++y)
    for (int64_t x = 0; x < source.width * zoom; ++x)
      for (int64_t c = 0; c < source.channels; ++c)
        sheet.pixels[static_cast<size_t>(((top + y) * sheet.width + left + x) * sheet.channels + c)] =
            source.pixels[static_cast<size_t>(((y / zoom) * source.width + x / zoom) * source.channels + c)];
}

}  // namespace

Image image_grid(const std::vector<Image>& images, const GridOptions& options) {
  check(!images.empty(), "grid", "there is no image to put on the sheet");
  check(options.padding >= 0 && options.zoom >= 1, "grid", "padding must be >= 0 and zoom >= 1, found ",
        options.padding, " and ", options.zoom);
  const auto count = static_cast<int64_t>(images.size());
  int64_t height = 0, width = 0, channels = 1;
  int bit_depth = 8;
  for (const Image& image : images) {
    height = std::max(height, image.height * options.zoom);
    width = std::max(width, image.width * options.zoom);
    channels = std::max(channels, image.channels);
    bit_depth = std::max(bit_depth, image.bit_depth);
  }
  int64_t columns = options.columns;
  if (columns <= 0) columns = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  columns = std::min(columns, count);
  const int64_t rows = (count + columns - 1) / columns, pad = options.padding;
  Image sheet = make_image(rows * (height + pad) + pad, columns * (width + pad) + pad, channels, bit_depth);
  std::fill(
      sheet.pixels.begin(), sheet.pixels.end(),
      static_cast<uint16_t>(std::nearbyint(std::clamp(options.background, 0.0, 1.0) * sheet.maximum())));
  for (int64_t i = 0; i < count; ++i) {
    const Image image = widen(images[static_cast<size_t>(i)], channels, bit_depth);
    const int64_t top = pad + i / columns * (height + pad) + (height - image.height * options.zoom) / 2;
    const int64_t left = pad + i % columns * (width + pad) + (width - image.width * options.zoom) / 2;
    draw(image, top, left, options.zoom, sheet);
  }
  return sheet;
}

Image image_strip(const std::vector<std::vector<Image>>& rows, int64_t padding, int64_t zoom) {
  check(!rows.empty() && !rows[0].empty(), "strip", "there is no image to put on the sheet");
  std::vector<Image> images;
  for (const std::vector<Image>& row : rows) {
    check(row.size() == rows[0].size(), "strip", "rows must be of one length, found ", rows[0].size(),
          " and ", row.size());
    images.insert(images.end(), row.begin(), row.end());
  }
  return image_grid(images,
                    {.columns = static_cast<int64_t>(rows[0].size()), .padding = padding, .zoom = zoom});
}

}  // namespace tw
