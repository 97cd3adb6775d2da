#include "apps/image/image.h"

#include <cmath>
#include <limits>

#include "tests/apps/image/test_image.h"

namespace tw {
namespace {

TEST(ImageConversion, EveryPixelValueSurvivesFloatAndBack) {
  for (int bit_depth : {8, 16}) {
    Image image = make_image(256, bit_depth == 8 ? 1 : 256, 1, bit_depth);
    for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint16_t>(i);
    const std::vector<float> values = to_float(image);
    EXPECT_EQ(values.front(), -1.0f);
    EXPECT_EQ(values.back(), 1.0f);
    EXPECT_EQ(from_float(values.data(), image.height, image.width, 1, bit_depth).pixels, image.pixels);
  }
}

TEST(ImageConversion, QuantisesHalfToEvenAndClamps) {
  // 2 k / 255 - 1 + 1 / 255 lies halfway between k and k + 1; halves of 255 (x/2 + 0.5) exact in binary: x =
  // 0.
  EXPECT_EQ(quantise(0.0f, 8), 128);     // 127.5 rounds to the even 128
  EXPECT_EQ(quantise(0.0f, 16), 32768);  // 32767.5 rounds to the even 32768
  EXPECT_EQ(quantise(-0.6f, 8), 51);     // 51.0 - epsilon
  EXPECT_EQ(quantise(-1.5f, 8), 0);
  EXPECT_EQ(quantise(7.0f, 16), 65535);
  EXPECT_EQ(quantise(std::numeric_limits<float>::infinity(), 8), 255);
  EXPECT_EQ(quantise(std::nanf(""), 8), 0);
}

TEST(ImageConversion, WidensWithoutLoss) {
  const Image grey = test_image(3, 5, 1);
  const Image wide = widen(grey, 3, 16);
  for (size_t i = 0; i < grey.pixels.size(); ++i)
    for (size_t c = 0; c < 3; ++c) EXPECT_EQ(wide.pixels[3 * i + c], grey.pixels[i] * 257);
  EXPECT_THROW(widen(wide, 1, 16), Error);
}

TEST(ImageConversion, RefusesImpossibleImages) {
  EXPECT_THROW(make_image(0, 4, 3), Error);
  EXPECT_THROW(make_image(4, 4, 2), Error);
  EXPECT_THROW(make_image(4, 4, 3, 12), Error);
}

}  // namespace
}  // namespace tw
