#include "apps/image/jpeg.h"

#include <csetjmp>
#include <cstdio>
// jpeglib.h needs size_t and FILE to be declared before it.
#include <jpeglib.h>

#include "apps/image/file_bytes.h"
#include "tensor/error.h"

namespace tw {
namespace {

constexpr uint64_t max_pixels = uint64_t{1} << 28;

struct Session {  // libjpeg reports errors by longjmp to `jump`; `base` must come first
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX] = "";
};

void on_error(j_common_ptr codec) {
  auto* session = reinterpret_cast<Session*>(codec->err);
  codec->err->format_message(codec, session->message);
  std::longjmp(session->jump, 1);
}
// libjpeg goes on after a warning and invents pixels; for data that is an error.
void on_message(j_common_ptr codec, int level) {
  if (level < 0) on_error(codec);
}

class Handle {
 public:
  explicit Handle(Session& session) {
    codec.err = jpeg_std_error(&session.base);
    session.base.error_exit = on_error;
    session.base.emit_message = on_message;
  }
  ~Handle() { jpeg_destroy_decompress(&codec); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  jpeg_decompress_struct codec{};
};

// The next two hold no objects with destructors: a longjmp passes through them.
bool start(Session& session, jpeg_decompress_struct& codec, std::string_view bytes) {
  if (setjmp(session.jump)) return false;
  jpeg_create_decompress(&codec);
  codec.mem->max_memory_to_use = 1L << 30;
  jpeg_mem_src(&codec, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&codec, TRUE);
  const bool grey = codec.jpeg_color_space == JCS_GRAYSCALE;
  if (codec.num_components != 1 && codec.num_components != 3) {
    std::snprintf(session.message, sizeof session.message, "%d colour components, expected 1 or 3",
                  codec.num_components);
    return false;
  }
  codec.out_color_space = grey ? JCS_GRAYSCALE : JCS_RGB;
  codec.dct_method = JDCT_ISLOW;  // the same pixels whatever libjpeg's default is
  if (uint64_t{codec.image_width} * codec.image_height > max_pixels) {
    std::snprintf(session.message, sizeof session.message, "%u x %u pixels are too many", codec.image_width,
                  codec.image_height);
    return false;
  }
  jpeg_start_decompress(&codec);
  return true;
}

bool read_rows(Session& session, jpeg_decompress_struct& codec, unsigned char* row, Image& image) {
  if (setjmp(session.jump)) return false;
  const size_t row_values = static_cast<size_t>(image.width * image.channels);
  while (codec.output_scanline < codec.output_height) {
    const size_t y = codec.output_scanline;
    jpeg_read_scanlines(&codec, &row, 1);
    for (size_t i = 0; i < row_values; ++i) image.pixels[y * row_values + i] = row[i];
  }
  jpeg_finish_decompress(&codec);
  return true;
}

}  // namespace

Image decode_jpeg(std::string_view bytes, const std::string& path) {
  Session session;
  Handle handle(session);
  if (!start(session, handle.codec, bytes)) fail_data(path, "is not a readable JPEG file: ", session.message);
  Image image =
      make_image(handle.codec.output_height, handle.codec.output_width, handle.codec.output_components);
  std::vector<unsigned char> row(static_cast<size_t>(image.width * image.channels));
  if (!read_rows(session, handle.codec, row.data(), image))
    fail_data(path, "is a damaged JPEG file: ", session.message);
  return image;
}

Image read_jpeg(const std::string& path) { return decode_jpeg(file_bytes(path), path); }

}  // namespace tw
