// JPEG files, read only: grey and colour, 8 bits.
#pragma once

#include <string>
#include <string_view>

#include "apps/image/image.h"

namespace tw {

// CMYK, a truncated or a damaged file (whatever libjpeg warns about) and an oversized one throw Error{data}
// naming the path.
Image read_jpeg(const std::string& path);
Image decode_jpeg(std::string_view bytes, const std::string& path);

}  // namespace tw
