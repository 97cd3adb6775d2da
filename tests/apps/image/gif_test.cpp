#include "apps/image/gif.h"

#include <gif_lib.h>

#include <cmath>
#include <set>

#include "apps/image/palette.h"
#include "tests/apps/image/test_image.h"

namespace tw {
namespace {

struct GifFile {
  explicit GifFile(const std::string& path) {
    int error = 0;
    gif = DGifOpenFileName(path.c_str(), &error);
    EXPECT_NE(gif, nullptr) << path;
    if (gif) {
      EXPECT_EQ(DGifSlurp(gif), GIF_OK);
    }
  }
  ~GifFile() {
    int error = 0;
    if (gif) DGifCloseFile(gif, &error);
  }
  // Channel c of pixel i of a frame.
  int value(int frame, size_t i, int c) const {
    const SavedImage& image = gif->SavedImages[frame];
    const GifColorType& colour = image.ImageDesc.ColorMap->Colors[image.RasterBits[i]];
    return c == 0 ? colour.Red : c == 1 ? colour.Green : colour.Blue;
  }
  GifFileType* gif = nullptr;
};

TEST(Gif, FramesWithFewColoursAreExact) {
  const TemporaryFolder folder;
  std::vector<Image> frames{test_image(9, 11, 3), test_image(9, 11, 1), test_image(9, 11, 1, 16)};
  write_gif(folder / "a.gif", frames, {.seconds_per_frame = 0.08, .last_frame_seconds = 2});
  const GifFile file(folder / "a.gif");
  ASSERT_EQ(file.gif->ImageCount, 3);
  EXPECT_EQ(file.gif->SWidth, 11);
  EXPECT_EQ(file.gif->SHeight, 9);
  for (size_t i = 0; i < 99; ++i)
    for (int c = 0; c < 3; ++c) {
      ASSERT_EQ(file.value(0, i, c), frames[0].pixels[3 * i + static_cast<size_t>(c)]) << i;
      ASSERT_EQ(file.value(1, i, c), frames[1].pixels[i]) << i;
      ASSERT_NEAR(file.value(2, i, c), frames[2].pixels[i] / 257.0, 0.5) << i;
    }
  GraphicsControlBlock control;
  ASSERT_EQ(DGifSavedExtensionToGCB(file.gif, 0, &control), GIF_OK);
  EXPECT_EQ(control.DelayTime, 8);
  ASSERT_EQ(DGifSavedExtensionToGCB(file.gif, 2, &control), GIF_OK);
  EXPECT_EQ(control.DelayTime, 200);
}

TEST(Gif, LoopsForeverWhenAsked) {
  const TemporaryFolder folder;
  for (bool loop : {true, false}) {
    write_gif(folder / "a.gif", {test_image(2, 2, 1)}, {.loop = loop});
    std::ifstream in(folder / "a.gif", std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    EXPECT_EQ(bytes.find("NETSCAPE2.0") != std::string::npos, loop);
  }
}

TEST(Gif, RefusesNoFramesAndMixedSizes) {
  const TemporaryFolder folder;
  EXPECT_THROW(write_gif(folder / "a.gif", {}), Error);
  EXPECT_THROW(write_gif(folder / "a.gif", {test_image(2, 2, 1), test_image(2, 3, 1)}), Error);
  EXPECT_THAT(data_error([&] { write_gif(folder / "none/a.gif", {test_image(2, 2, 1)}); }),
              testing::HasSubstr("none/a.gif"));
}

TEST(Palette, ASmoothImageOfManyColoursStaysClose) {
  Image image = make_image(128, 128, 3);
  for (size_t y = 0; y < 128; ++y)
    for (size_t x = 0; x < 128; ++x) {
      uint16_t* p = &image.pixels[(y * 128 + x) * 3];
      p[0] = static_cast<uint16_t>(2 * x);
      p[1] = static_cast<uint16_t>(2 * y);
      p[2] = static_cast<uint16_t>(x + y);
    }
  const Indexed indexed = quantise_colours(image);
  EXPECT_EQ(indexed.palette.size(), 256u);
  double squares = 0;
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    const double error =
        image.pixels[i] - static_cast<double>(indexed.palette[indexed.indices[i / 3]][i % 3]);
    squares += error * error;
  }
  // 16 x 16 boxes over a 256 x 256 plane: each channel is uniform over about 16 values, root mean square 4.6.
  EXPECT_LT(std::sqrt(squares / static_cast<double>(image.pixels.size())), 5.5);
}

}  // namespace
}  // namespace tw
