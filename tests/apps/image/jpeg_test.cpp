#include "apps/image/jpeg.h"

#include <cstdio>
// jpeglib.h needs size_t and FILE to be declared before it.
#include <jpeglib.h>

#include <cstdlib>
#include <random>

#include "tests/apps/image/test_image.h"

namespace tw {
namespace {

std::string encoded(int width, int height, int channels, unsigned char value) {
  jpeg_compress_struct codec;
  jpeg_error_mgr errors;
  codec.err = jpeg_std_error(&errors);
  jpeg_create_compress(&codec);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&codec, &bytes, &size);
  codec.image_width = static_cast<JDIMENSION>(width);
  codec.image_height = static_cast<JDIMENSION>(height);
  codec.input_components = channels;
  codec.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&codec);
  jpeg_set_quality(&codec, 95, TRUE);
  jpeg_start_compress(&codec, TRUE);
  std::vector<unsigned char> row(static_cast<size_t>(width * channels), value);
  for (int x = 0; x < width; ++x) row[static_cast<size_t>(x * channels)] = static_cast<unsigned char>(x * 5);
  for (int y = 0; y < height; ++y) {
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&codec, &pointer, 1);
  }
  jpeg_finish_compress(&codec);
  std::string result(reinterpret_cast<char*>(bytes), size);
  jpeg_destroy_compress(&codec);
  std::free(bytes);
  return result;
}

TEST(Jpeg, ReadsGreyAndColour) {
  for (int channels : {1, 3}) {
    const Image image = decode_jpeg(encoded(20, 12, channels, 90), "memory");
    EXPECT_EQ(image.height, 12);
    EXPECT_EQ(image.width, 20);
    EXPECT_EQ(image.channels, channels);
    EXPECT_EQ(image.bit_depth, 8);
    EXPECT_NEAR(image.pixels.back(), channels == 1 ? 95 : 90, 12);
  }
}

TEST(Jpeg, RefusesCmykAndTruncation) {
  EXPECT_THAT(data_error([] { decode_jpeg(encoded(8, 8, 4, 9), "print.jpg"); }),
              testing::HasSubstr("print.jpg: is not a readable JPEG file: 4 colour components"));
  const std::string bytes = encoded(40, 40, 3, 77);
  for (size_t size = 2; size + 2 < bytes.size(); size += 3)
    EXPECT_THAT(data_error([&] { decode_jpeg(bytes.substr(0, size), "cut.jpg"); }),
                testing::StartsWith("cut.jpg: "));
}

TEST(Jpeg, FlippedBitsNeverCrash) {
  const std::string bytes = encoded(24, 24, 3, 200);
  std::mt19937 random(3);
  for (int trial = 0; trial < 2000; ++trial) {
    std::string damaged = bytes;
    damaged[random() % bytes.size()] ^= static_cast<char>(1 << (random() % 8));
    try {
      const Image image = decode_jpeg(damaged, "flipped.jpg");
      EXPECT_EQ(image.pixels.size(), static_cast<size_t>(image.height * image.width * image.channels));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data) << error.what();
    }
  }
}

}  // namespace
}  // namespace tw
