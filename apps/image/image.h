// Image: integer pixels as files hold them, and the way to and from the floats that networks work on.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tw {

// pixels (height, width, channels), channels last, values 0 .. 2^bit_depth - 1. `text` holds what a PNG's
// text chunks say, by keyword.
struct Image {
  int64_t height = 0, width = 0, channels = 0;  // channels: 1 (grey) or 3 (RGB)
  int bit_depth = 8;                            // 8 or 16
  std::vector<uint16_t> pixels;
  std::map<std::string, std::string> text;

  uint16_t maximum() const { return bit_depth == 16 ? 65535 : 255; }
};

// A black image. Throws unless channels is 1 or 3, bit_depth 8 or 16 and the extents positive.
Image make_image(int64_t height, int64_t width, int64_t channels, int bit_depth = 8);

// [-1, 1] to 0 .. 2^bit_depth - 1: clamp(x/2 + 0.5, 0, 1) times the maximum, rounded half to even. NaN gives
// 0.
uint16_t quantise(float value, int bit_depth);

// Pixels to [-1, 1] (2 p / maximum - 1) and back. hwc holds height * width * channels values.
void to_float(const Image& image, float* hwc);
std::vector<float> to_float(const Image& image);
Image from_float(const float* hwc, int64_t height, int64_t width, int64_t channels, int bit_depth);

// Grey to RGB by repeating, 8 to 16 bit by times 257. Throws if it would lose something.
Image widen(const Image& image, int64_t channels, int bit_depth);

}  // namespace tw
