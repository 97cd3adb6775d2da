#include "apps/report/plot.h"

#include <cmath>

#include "apps/report/canvas.h"
#include "tests/apps/image/test_image.h"

namespace tw {
namespace {

TEST(Ticks, AreRoundAndWithinTheRange) {
  EXPECT_EQ(ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(ticks(3, 3, 5), (std::vector<double>{3}));
  for (double scale : {1e-9, 1.0, 7e6})
    for (double low : {-3.3, 0.0, 12.0}) {
      const std::vector<double> values = ticks(low * scale, (low + 1.7) * scale, 6);
      EXPECT_GE(values.size(), 3u);
      EXPECT_LE(values.size(), 9u);
      EXPECT_GE(values.front(), low * scale - 1e-9 * scale);
      EXPECT_LE(values.back(), (low + 1.7) * scale * (1 + 1e-9));
    }
}

TEST(Smoothed, IsExactOnAConstantAndHalvesAtTheHalfLife) {
  for (double value : smoothed(std::vector<double>(50, 3.5), 10)) EXPECT_NEAR(value, 3.5, 1e-12);
  std::vector<double> step(1000, 0.0);
  step.insert(step.end(), 10, 1.0);
  EXPECT_NEAR(smoothed(step, 10).back(), 0.5, 1e-6);
  const std::vector<double> with_gap = smoothed({NAN, 2, NAN}, 5);
  EXPECT_TRUE(std::isnan(with_gap[0]));
  EXPECT_DOUBLE_EQ(with_gap[2], 2);
}

int64_t pixels_like(const Image& image, Rgb colour) {
  int64_t count = 0;
  for (size_t i = 0; i < image.pixels.size(); i += 3)
    count +=
        image.pixels[i] == colour[0] && image.pixels[i + 1] == colour[1] && image.pixels[i + 2] == colour[2];
  return count;
}

TEST(Plot, DrawsTheCurveInItsColour) {
  const Image image =
      plot({{"loss", {0, 1, 2}, {1, 0.1, 0.01}}}, {.log_y = true, .width = 400, .height = 300});
  EXPECT_EQ(image.width, 400);
  EXPECT_EQ(image.height, 300);
  EXPECT_GT(pixels_like(image, {0, 100, 170}), 200);
}

TEST(Plot, LivesWithEmptySingleAndNonFiniteData) {
  plot({});
  plot({{"a", {}, {}}}, {.log_y = true});
  EXPECT_GT(pixels_like(plot({{"", {1}, {5}}}), {0, 100, 170}), 4);
  plot({{"a", {1, 2, 3, 4}, {NAN, INFINITY, -1, 0}}}, {.log_y = true});
  plot({{"a", {1, 2}, {1e300, -1e300}}, {"b", {1e-300, 2}, {0, 0}}});
  EXPECT_THROW(plot({{"a", {1, 2}, {1}}}), Error);
}

TEST(Canvas, LinesAndFillsCoverTheirArea) {
  Canvas canvas(20, 20, {0, 0, 0});
  canvas.fill(2, 3, 6.5, 5, {200, 100, 50});
  const Image& image = canvas.image();
  EXPECT_EQ(image.pixels[(3 * 20 + 2) * 3], 200);
  EXPECT_EQ(image.pixels[(4 * 20 + 6) * 3], 100) << "half a pixel";
  EXPECT_EQ(image.pixels[(5 * 20 + 2) * 3], 0);
  canvas.line(-50, 10.5, 70, 10.5, 1, {255, 255, 255});
  for (size_t x = 0; x < 20; ++x) EXPECT_EQ(image.pixels[(10 * 20 + x) * 3], 255);
  EXPECT_EQ(image.pixels[(12 * 20 + 9) * 3], 0);
}

TEST(Canvas, TextIsDrawnAndInvalidUtf8IsHarmless) {
  Canvas canvas(30, 200, {255, 255, 255});
  if (canvas.text_width("a", 12) == 0) GTEST_SKIP() << "DejaVu Sans (fonts-dejavu-core) is not installed";
  EXPECT_GT(canvas.text_width("βeta", 24), canvas.text_width("βeta", 12));
  canvas.text(2, 20, "loss β\xff\xe2\x82", 16, {0, 0, 0});
  EXPECT_GT(pixels_like(canvas.image(), {0, 0, 0}), 10);
}

}  // namespace
}  // namespace tw
