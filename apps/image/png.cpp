#include "apps/image/png.h"

#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>

#include "apps/image/file_bytes.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace tw {
namespace {

constexpr uint64_t max_pixels = uint64_t{1} << 28;
constexpr uint64_t max_deflate_ratio = 1032;  // of zlib's format; a file that claims more is not one

struct Session {  // what libpng's callbacks share; libpng reports errors by longjmp to `jump`
  std::jmp_buf jump;
  char message[200] = "";
  const char* input = nullptr;
  size_t left = 0;
  std::string* output = nullptr;
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* session = static_cast<Session*>(png_get_error_ptr(png));
  std::strncpy(session->message, message, sizeof session->message - 1);
  std::longjmp(session->jump, 1);
}
void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep bytes, size_t count) {
  auto* session = static_cast<Session*>(png_get_io_ptr(png));
  if (count > session->left) png_error(png, "the file ends early");
  std::memcpy(bytes, session->input, count);
  session->input += count;
  session->left -= count;
}

void on_write(png_structp png, png_bytep bytes, size_t count) {
  static_cast<Session*>(png_get_io_ptr(png))->output->append(reinterpret_cast<char*>(bytes), count);
}
void on_flush(png_structp) {}

// A read or write structure of libpng, destroyed on every way out.
class Handle {
 public:
  Handle(bool writes, Session& session) : writes_(writes) {
    png = (writes ? png_create_write_struct : png_create_read_struct)(PNG_LIBPNG_VER_STRING, &session,
                                                                      on_error, on_warning);
    info = png ? png_create_info_struct(png) : nullptr;
    if (!info) fail("png", "libpng could not be started");
  }
  ~Handle() {
    if (writes_)
      png_destroy_write_struct(&png, &info);
    else
      png_destroy_read_struct(&png, &info, nullptr);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  png_structp png = nullptr;
  png_infop info = nullptr;

 private:
  bool writes_;
};

struct Header {
  png_uint_32 width = 0, height = 0;
  int channels = 0, bit_depth = 0;
  size_t row_bytes = 0;
};

// The next three hold no objects with destructors: a longjmp passes through them.
bool read_header(Session& session, png_structp png, png_infop info, Header& header) {
  if (setjmp(session.jump)) return false;
  png_set_read_fn(png, &session, on_read);
  png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
  png_set_user_limits(png, 1u << 20, 1u << 20);
  png_read_info(png, info);
  png_set_expand(png);  // palette to RGB, small depths to 8, tRNS to alpha
  if (png_get_bit_depth(png, info) == 16) png_set_swap(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  header.width = png_get_image_width(png, info);
  header.height = png_get_image_height(png, info);
  header.channels = png_get_channels(png, info);
  header.bit_depth = png_get_bit_depth(png, info);
  header.row_bytes = png_get_rowbytes(png, info);
  return true;
}

bool read_rows(Session& session, png_structp png, png_infop info, png_bytepp rows) {
  if (setjmp(session.jump)) return false;
  png_read_image(png, rows);
  png_read_end(png, info);
  return true;
}

bool write_all(Session& session, png_structp png, png_infop info, const Image& image, png_bytepp rows,
               png_textp texts, int text_count) {
  if (setjmp(session.jump)) return false;
  png_set_write_fn(png, &session, on_write, on_flush);
  png_set_IHDR(png, info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height),
               image.bit_depth, image.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (text_count) png_set_text(png, info, texts, text_count);
  png_write_info(png, info);
  if (image.bit_depth == 16) png_set_swap(png);
  png_write_image(png, rows);
  png_write_end(png, info);
  return true;
}

std::string utf8_of_latin1(const char* text, size_t length) {
  std::string result;
  for (size_t i = 0; i < length; ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      result += static_cast<char>(c);
    } else {
      result += static_cast<char>(0xc0 | (c >> 6));
      result += static_cast<char>(0x80 | (c & 0x3f));
    }
  }
  return result;
}

void read_text(const Handle& handle, Image& image) {
  png_textp texts = nullptr;
  int count = 0;
  png_get_text(handle.png, handle.info, &texts, &count);
  for (int i = 0; i < count; ++i) {
    const bool utf8 = texts[i].compression >= PNG_ITXT_COMPRESSION_NONE;
    const size_t length = utf8 ? texts[i].itxt_length : texts[i].text_length;
    image.text[texts[i].key] =
        utf8 ? std::string(texts[i].text, length) : utf8_of_latin1(texts[i].text, length);
  }
}

// Samples of `stored` channels, the last of even counts being alpha, to pixels on white.
template <class T>
void composite(const std::vector<unsigned char>& bytes, int stored, Image& image) {
  const auto* samples = reinterpret_cast<const T*>(bytes.data());
  const uint64_t maximum = image.maximum();
  const int colours = static_cast<int>(image.channels);
  for (size_t i = 0; i < image.pixels.size() / static_cast<size_t>(colours); ++i, samples += stored)
    for (int c = 0; c < colours; ++c) {
      const uint64_t alpha = stored > colours ? samples[colours] : maximum;
      image.pixels[i * static_cast<size_t>(colours) + static_cast<size_t>(c)] =
          static_cast<uint16_t>((samples[c] * alpha + maximum * (maximum - alpha) + maximum / 2) / maximum);
    }
}

}  // namespace

Image decode_png(std::string_view bytes, const std::string& path) {
  Session session;
  session.input = bytes.data();
  session.left = bytes.size();
  if (!bytes.starts_with("\x89PNG\r\n\x1a\n")) fail_data(path, "is not a PNG file: its signature is wrong");
  const Handle handle(false, session);
  Header header;
  if (!read_header(session, handle.png, handle.info, header))
    fail_data(path, "is a damaged PNG file: ", session.message);
  const uint64_t total = uint64_t{header.row_bytes} * header.height;
  if (uint64_t{header.width} * header.height > max_pixels)
    fail_data(path, header.width, " x ", header.height, " pixels are more than the ", max_pixels,
              " that are read");
  // Expansion multiplies the bytes of a bilevel image by at most 8 * 4.
  if (total / 32 > bytes.size() * max_deflate_ratio)
    fail_data(path, "is a damaged PNG file: ", bytes.size(), " bytes cannot hold ", header.width, " x ",
              header.height, " pixels");
  std::vector<unsigned char> samples(total);
  std::vector<png_bytep> rows(header.height);
  for (size_t y = 0; y < rows.size(); ++y) rows[y] = samples.data() + y * header.row_bytes;
  if (!read_rows(session, handle.png, handle.info, rows.data()))
    fail_data(path, "is a damaged PNG file: ", session.message);
  Image image =
      make_image(header.height, header.width, header.channels < 3 ? 1 : 3, header.bit_depth == 16 ? 16 : 8);
  if (image.bit_depth == 16)
    composite<uint16_t>(samples, header.channels, image);
  else
    composite<uint8_t>(samples, header.channels, image);
  read_text(handle, image);
  return image;
}

Image read_png(const std::string& path) { return decode_png(file_bytes(path), path); }

std::string encode_png(const Image& image) {
  check(image.pixels.size() == static_cast<size_t>(image.height * image.width * image.channels), "png",
        "expected ", image.height * image.width * image.channels, " values, found ", image.pixels.size());
  const size_t sample_bytes = image.bit_depth == 16 ? 2 : 1;
  const size_t row_bytes = static_cast<size_t>(image.width * image.channels) * sample_bytes;
  std::vector<unsigned char> samples(row_bytes * static_cast<size_t>(image.height));
  if (sample_bytes == 2)
    std::memcpy(samples.data(), image.pixels.data(), samples.size());
  else
    std::copy(image.pixels.begin(), image.pixels.end(), samples.begin());
  std::vector<png_bytep> rows(static_cast<size_t>(image.height));
  for (size_t y = 0; y < rows.size(); ++y) rows[y] = samples.data() + y * row_bytes;

  std::map<std::string, std::string> text = image.text;  // libpng wants pointers that are not const
  std::vector<png_text> texts;
  char no_language[] = "";
  for (auto& [key, value] : text) {
    check(!key.empty() && key.size() < 80, "png", "the text keyword '", key,
          "' must have 1 to 79 characters");
    const bool ascii =
        std::all_of(value.begin(), value.end(), [](char c) { return static_cast<signed char>(c) >= 0; });
    png_text entry{};
    entry.compression = ascii ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
    entry.key = const_cast<char*>(key.c_str());
    entry.text = value.data();
    (ascii ? entry.text_length : entry.itxt_length) = value.size();
    entry.lang = entry.lang_key = no_language;
    texts.push_back(entry);
  }
  std::string output;
  Session session;
  session.output = &output;
  const Handle handle(true, session);
  if (!write_all(session, handle.png, handle.info, image, rows.data(), texts.data(),
                 static_cast<int>(texts.size())))
    fail("png", "cannot encode: ", session.message);
  return output;
}

void write_png(const std::string& path, const Image& image) {
  write_file_atomically(path, encode_png(image));
}

}  // namespace tw
