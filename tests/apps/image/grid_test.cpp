#include "apps/image/grid.h"

#include <algorithm>

#include "tests/apps/image/test_image.h"

namespace tw {
namespace {

Image plain(int64_t height, int64_t width, int64_t channels, uint16_t value, int bit_depth = 8) {
  Image image = make_image(height, width, channels, bit_depth);
  std::fill(image.pixels.begin(), image.pixels.end(), value);
  return image;
}

TEST(Grid, PlacesImagesRowByRowWithPadding) {
  std::vector<Image> images;
  for (uint16_t i = 0; i < 5; ++i) images.push_back(plain(2, 3, 1, static_cast<uint16_t>(10 * i)));
  const Image sheet = image_grid(images, {.padding = 1});  // 3 columns, 2 rows
  ASSERT_EQ(sheet.width, 3 * 4 + 1);
  ASSERT_EQ(sheet.height, 2 * 3 + 1);
  const auto at = [&](int64_t y, int64_t x) {
    return sheet.pixels[static_cast<size_t>(y * sheet.width + x)];
  };
  EXPECT_EQ(at(0, 0), 255);
  EXPECT_EQ(at(1, 1), 0);
  EXPECT_EQ(at(1, 5), 10);
  EXPECT_EQ(at(2, 9), 20);
  EXPECT_EQ(at(4, 1), 30);
  EXPECT_EQ(at(5, 7), 40);
  EXPECT_EQ(at(5, 11), 255) << "the empty place";
}

TEST(Grid, WidensToTheRichestImageAndCentresSmallOnes) {
  const Image sheet = image_grid({plain(1, 1, 1, 128), plain(3, 3, 3, 1000, 16)},
                                 {.columns = 2, .padding = 0, .background = 0});
  EXPECT_EQ(sheet.channels, 3);
  EXPECT_EQ(sheet.bit_depth, 16);
  EXPECT_EQ(sheet.pixels[static_cast<size_t>((1 * 6 + 1) * 3)], 128 * 257);
  EXPECT_EQ(sheet.pixels[0], 0);
  EXPECT_EQ(sheet.pixels[3 * 3], 1000);
}

TEST(Grid, Zooms) {
  const Image image = test_image(2, 2, 3);
  const Image sheet = image_grid({image}, {.padding = 0, .zoom = 3});
  ASSERT_EQ(sheet.width, 6);
  for (int64_t y = 0; y < 6; ++y)
    for (int64_t x = 0; x < 6; ++x)
      EXPECT_EQ(sheet.pixels[static_cast<size_t>((y * 6 + x) * 3 + 1)],
                image.pixels[static_cast<size_t>((y / 3 * 2 + x / 3) * 3 + 1)]);
}

TEST(Grid, NeedsAnImageAndRowsOfOneLength) {
  EXPECT_THROW(image_grid({}), Error);
  EXPECT_THROW(image_strip({}), Error);
  const Image image = test_image(2, 2, 1);
  EXPECT_THROW(image_strip({{image, image}, {image}}), Error);
  EXPECT_EQ(image_strip({{image, image}, {image, image}}, 0).width, 4);
}

}  // namespace
}  // namespace tw
