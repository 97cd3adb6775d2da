// PNG files: grey, RGB and palette of any bit depth in, grey and RGB of 8 or 16 bits out, with text chunks.
#pragma once

#include <string>
#include <string_view>

#include "apps/image/image.h"

namespace tw {

// Depths below 8 bits are widened to 8, palettes become RGB, and transparency (an alpha channel or tRNS) is
// composited on white. A damaged checksum, a truncated or an oversized file (more than 2^28 pixels) throws
// Error{data} naming the path.
Image read_png(const std::string& path);
Image decode_png(std::string_view bytes, const std::string& path);  // path: for messages

// text becomes tEXt chunks (Latin-1) or, beyond ASCII, iTXt chunks (UTF-8). Keywords: 1 to 79 ASCII
// characters.
std::string encode_png(const Image& image);
// Appears complete or not at all.
void write_png(const std::string& path, const Image& image);

}  // namespace tw
