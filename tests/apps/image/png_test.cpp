#include "apps/image/png.h"

#include <png.h>

#include <random>

#include "apps/image/read_image.h"
#include "tests/apps/image/test_image.h"
#include "tests/shared_folder.h"

namespace tw {
namespace {

TEST(Png, RoundTripsGreyAndColourOf8And16Bits) {
  for (int64_t channels : {1, 3})
    for (int bit_depth : {8, 16}) {
      const Image image = test_image(7, 5, channels, bit_depth);
      const Image again = decode_png(encode_png(image), "memory");
      EXPECT_EQ(again.height, 7);
      EXPECT_EQ(again.width, 5);
      EXPECT_EQ(again.channels, channels);
      EXPECT_EQ(again.bit_depth, bit_depth);
      EXPECT_EQ(again.pixels, image.pixels);
    }
}

TEST(Png, TextRoundTripsInUtf8) {
  Image image = test_image(2, 2, 3);
  image.text["settings"] = R"({"sampler": "ddim", "steps": 50, "model": "émoji 😀", "note": "β = 0.02"})";
  image.text["seed"] = "15";
  image.text["empty"] = "";
  EXPECT_EQ(decode_png(encode_png(image), "memory").text, image.text);
  image.text[std::string(80, 'k')] = "too long a keyword";
  EXPECT_THROW(encode_png(image), Error);
}

TEST(Png, WritesAtomicallyAndReportsAnUnwritablePlace) {
  const TemporaryFolder folder;
  const Image image = test_image(4, 4, 1, 16);
  write_png(folder / "a.png", image);
  EXPECT_EQ(read_image(folder / "a.png").pixels, image.pixels);
  EXPECT_THAT(data_error([&] { write_png(folder / "missing/a.png", image); }),
              testing::HasSubstr("missing/a.png"));
  write_bytes(folder / "file", "x");
  EXPECT_THAT(data_error([&] { write_png(folder / "file/a.png", image); }), testing::HasSubstr("file/a.png"));
}

// libpng's simplified writer makes what we do not write: alpha and palettes.
std::string foreign_png(png_uint_32 format, int width, int height, const void* samples,
                        const void* colours = nullptr, int colour_count = 0) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = format;
  image.colormap_entries = static_cast<png_uint_32>(colour_count);
  png_alloc_size_t bytes = 0;
  EXPECT_TRUE(png_image_write_to_memory(&image, nullptr, &bytes, 0, samples, 0, colours)) << image.message;
  std::string result(bytes, '\0');
  EXPECT_TRUE(png_image_write_to_memory(&image, result.data(), &bytes, 0, samples, 0, colours))
      << image.message;
  result.resize(bytes);
  return result;
}

TEST(Png, CompositesAlphaOnWhite) {
  const unsigned char rgba[] = {255, 0, 0, 255, 10, 20, 30, 0, 0, 0, 0, 128};
  const Image colour = decode_png(foreign_png(PNG_FORMAT_RGBA, 3, 1, rgba), "memory");
  EXPECT_EQ(colour.channels, 3);
  EXPECT_EQ(colour.pixels, (std::vector<uint16_t>{255, 0, 0, 255, 255, 255, 127, 127, 127}));
  const unsigned char grey_alpha[] = {200, 255, 0, 0, 100, 51};
  const Image grey = decode_png(foreign_png(PNG_FORMAT_GA, 3, 1, grey_alpha), "memory");
  EXPECT_EQ(grey.channels, 1);
  EXPECT_EQ(grey.pixels, (std::vector<uint16_t>{200, 255, 224}));
}

TEST(Png, CompositesGreyAlphaOf16Bits) {
  // Written chunk by chunk: bit depth 16, colour type 4; the samples are big-endian.
  const TemporaryFolder folder;
  const std::string path = folder / "ga16.png";
  FILE* file = std::fopen(path.c_str(), "wb");
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_init_io(png, file);
  png_set_IHDR(png, info, 3, 1, 16, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  unsigned char row[] = {0x12, 0x34, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0x80, 0x00};
  png_write_row(png, row);
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  std::fclose(file);
  const Image image = read_image(path);
  EXPECT_EQ(image.bit_depth, 16);
  EXPECT_EQ(image.channels, 1);
  EXPECT_EQ(image.pixels, (std::vector<uint16_t>{0x1234, 0xffff, 0x7fff}));
}

TEST(Png, ReadsPalettes) {
  const unsigned char colours[] = {1, 2, 3, 250, 251, 252};
  const unsigned char indices[] = {1, 0, 0, 1};
  const Image image = decode_png(foreign_png(PNG_FORMAT_RGB_COLORMAP, 2, 2, indices, colours, 2), "memory");
  EXPECT_EQ(image.channels, 3);
  EXPECT_EQ(image.pixels, (std::vector<uint16_t>{250, 251, 252, 1, 2, 3, 1, 2, 3, 250, 251, 252}));
}

TEST(Png, EveryTruncationIsAnError) {
  Image image = test_image(9, 8, 3);
  image.text["settings"] = "{}";
  const std::string bytes = encode_png(image);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_THAT(data_error([&] { decode_png(bytes.substr(0, size), "cut.png"); }),
                testing::StartsWith("cut.png: "))
        << "cut at " << size;
}

TEST(Png, EveryFlippedBitIsAnError) {
  Image image = test_image(5, 6, 3);
  image.text["settings"] = "{\"seed\": 1}";
  const std::string bytes = encode_png(image);
  for (size_t i = 0; i < bytes.size() - 4; ++i)  // the last four: the checksum of the empty end chunk
    for (int bit : {0, 5, 7}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      EXPECT_THROW(decode_png(damaged, "flipped.png"), Error) << "byte " << i << ", bit " << bit;
    }
}

TEST(Png, AHeaderThatClaimsTooMuchIsRefusedBeforeMemoryIsTaken) {
  // 16,384 x 16,384 RGB with the header's checksum put right and almost no data.
  Image image = test_image(1, 1, 3);
  std::string bytes = encode_png(image);
  const unsigned char size[] = {0, 0, 0x40, 0, 0, 0, 0x40, 0};
  std::copy(std::begin(size), std::end(size), bytes.begin() + 16);
  uint32_t crc = 0xffffffffu;
  for (size_t i = 12; i < 29; ++i) {
    crc ^= static_cast<unsigned char>(bytes[i]);
    for (int k = 0; k < 8; ++k) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
  }
  crc = ~crc;
  for (int k = 0; k < 4; ++k) bytes[29 + static_cast<size_t>(k)] = static_cast<char>(crc >> (24 - 8 * k));
  EXPECT_THAT(data_error([&] { decode_png(bytes, "bomb.png"); }), testing::HasSubstr("cannot hold"));
}

TEST(Png, RandomBytesAfterTheSignatureNeverCrash) {
  std::mt19937 random(5);
  for (int trial = 0; trial < 200; ++trial) {
    std::string bytes = encode_png(test_image(6, 6, 1, 16));
    for (int k = 0; k < 6; ++k) bytes[8 + random() % (bytes.size() - 8)] = static_cast<char>(random());
    try {
      decode_png(bytes, "noise.png");
    } catch (const Error&) {
    }
  }
}

TEST(ReadImage, TellsFormatsByContentAndNamesTheFile) {
  const TemporaryFolder folder;
  write_bytes(folder / "a.jpg", encode_png(test_image(3, 3, 3)));  // the name lies
  EXPECT_EQ(read_image(folder / "a.jpg").width, 3);
  write_bytes(folder / "text.png", "hello");
  EXPECT_THAT(data_error([&] { read_image(folder / "text.png"); }),
              testing::HasSubstr("text.png: is neither"));
  write_bytes(folder / "empty.png", "");
  EXPECT_THAT(data_error([&] { read_image(folder / "empty.png"); }),
              testing::HasSubstr("empty.png: is empty"));
  EXPECT_THAT(data_error([&] { read_image(folder / "none.png"); }),
              testing::HasSubstr("none.png: cannot be opened"));
  EXPECT_THAT(data_error([&] { read_image(folder.str()); }), testing::HasSubstr("is a folder"));
}

TEST(ReadImage, RealPhotographs) {
  const std::string natural = shared_folder("data/natural");
  if (!std::filesystem::exists(natural)) GTEST_SKIP() << natural << " is not here";
  const Image grey = read_image(natural + "/set12_01.png");
  EXPECT_EQ(grey.channels, 1);
  EXPECT_EQ(grey.bit_depth, 8);
  const Image photo = read_image(natural + "/bsds500_val/101085.jpg");
  EXPECT_EQ(photo.channels, 3);
  EXPECT_EQ(photo.height * photo.width, 481 * 321);
}

}  // namespace
}  // namespace tw
