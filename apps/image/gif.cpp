#include "apps/image/gif.h"

#include <gif_lib.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "apps/image/palette.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace tw {
namespace {

Image in_8_bits(const Image& image) {
  if (image.bit_depth == 8) return image;
  Image result = make_image(image.height, image.width, image.channels, 8);
  for (size_t i = 0; i < result.pixels.size(); ++i)
    result.pixels[i] = static_cast<uint16_t>(std::nearbyint(image.pixels[i] / 257.0));
  return result;
}

int append(GifFileType* gif, const GifByteType* bytes, int count) {
  static_cast<std::string*>(gif->UserData)
      ->append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(count));
  return count;
}

struct Encoder {
  explicit Encoder(std::string& output) {
    int error = 0;
    gif = EGifOpen(&output, append, &error);
    check(gif != nullptr, "gif", "giflib could not be started: ", GifErrorString(error));
    EGifSetGifVersion(gif, true);
  }
  ~Encoder() {
    int error = 0;
    if (gif) EGifCloseFile(gif, &error);
  }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;
  void expect(int status) const {
    check(status == GIF_OK, "gif", "cannot encode: ", GifErrorString(gif->Error));
  }

  GifFileType* gif = nullptr;
};

void put_frame(const Encoder& encoder, const Image& frame, double seconds) {
  const Indexed indexed = quantise_colours(in_8_bits(frame));
  GraphicsControlBlock control{};
  control.DisposalMode = DISPOSE_DO_NOT;
  control.DelayTime = static_cast<int>(std::clamp(std::nearbyint(seconds * 100), 2.0, 65535.0));
  control.TransparentColor = NO_TRANSPARENT_COLOR;
  GifByteType extension[4];
  EGifGCBToExtension(&control, extension);
  encoder.expect(EGifPutExtension(encoder.gif, GRAPHICS_EXT_FUNC_CODE, sizeof extension, extension));
  std::vector<GifColorType> colours(256);  // giflib takes sizes that are powers of two
  for (size_t i = 0; i < indexed.palette.size(); ++i)
    colours[i] = {indexed.palette[i][0], indexed.palette[i][1], indexed.palette[i][2]};
  const std::unique_ptr<ColorMapObject, void (*)(ColorMapObject*)> map(GifMakeMapObject(256, colours.data()),
                                                                       GifFreeMapObject);
  const int width = static_cast<int>(frame.width), height = static_cast<int>(frame.height);
  encoder.expect(EGifPutImageDesc(encoder.gif, 0, 0, width, height, false, map.get()));
  std::vector<GifPixelType> pixels(indexed.indices.begin(), indexed.indices.end());
  encoder.expect(EGifPutLine(encoder.gif, pixels.data(), width * height));
}

}  // namespace

void write_gif(const std::string& path, const std::vector<Image>& frames, const GifOptions& options) {
  check(!frames.empty(), "gif", "there is no frame to write to ", path);
  const Image& first = frames[0];
  for (const Image& frame : frames)
    check(frame.height == first.height && frame.width == first.width, "gif",
          "frames must be of one size, found ", first.height, " x ", first.width, " and ", frame.height,
          " x ", frame.width);
  check(first.height < 65536 && first.width < 65536, "gif", first.height, " x ", first.width,
        " is too large");
  std::string output;
  {
    const Encoder encoder(output);
    encoder.expect(EGifPutScreenDesc(encoder.gif, static_cast<int>(first.width),
                                     static_cast<int>(first.height), 8, 0, nullptr));
    if (options.loop) {
      const GifByteType forever[] = {1, 0, 0};
      encoder.expect(EGifPutExtensionLeader(encoder.gif, APPLICATION_EXT_FUNC_CODE));
      encoder.expect(EGifPutExtensionBlock(encoder.gif, 11, "NETSCAPE2.0"));
      encoder.expect(EGifPutExtensionBlock(encoder.gif, 3, forever));
      encoder.expect(EGifPutExtensionTrailer(encoder.gif));
    }
    for (size_t i = 0; i < frames.size(); ++i)
      put_frame(encoder, frames[i],
                i + 1 == frames.size() ? options.last_frame_seconds : options.seconds_per_frame);
  }  // closing writes the trailer
  write_file_atomically(path, output);
}

}  // namespace tw
