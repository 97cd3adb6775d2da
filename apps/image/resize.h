// Resizing of images that are loaded: every output pixel is the mean of the input area that it covers.
#pragma once

#include <cstdint>
#include <vector>

namespace tw {

// in (h, w, c) -> (out_h, out_w, c). Area averaging when shrinking, bilinear (pixel centres aligned) when
// growing.
std::vector<float> resize_image(const std::vector<float>& in, int64_t h, int64_t w, int64_t c, int64_t out_h,
                                int64_t out_w);

}  // namespace tw
