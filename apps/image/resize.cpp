#include "apps/image/resize.h"

#include <algorithm>
#include <cmath>

namespace tw {
namespace {

struct Tap {
  int64_t index;
  float weight;
};

// What each output position reads along one axis; weights sum to one.
std::vector<std::vector<Tap>> taps_of_axis(int64_t in, int64_t out) {
  std::vector<std::vector<Tap>> result(static_cast<size_t>(out));
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  for (int64_t o = 0; o < out; ++o) {
    auto& taps = result[static_cast<size_t>(o)];
    if (scale > 1) {
      const double begin = static_cast<double>(o) * scale, end = begin + scale;
      for (int64_t i = static_cast<int64_t>(begin); i < in && static_cast<double>(i) < end - 1e-9; ++i) {
        const double covered =
            std::min(end, static_cast<double>(i + 1)) - std::max(begin, static_cast<double>(i));
        taps.push_back({i, static_cast<float>(covered / scale)});
      }
    } else {
      const double centre =
          std::clamp((static_cast<double>(o) + 0.5) * scale - 0.5, 0.0, static_cast<double>(in - 1));
      const int64_t i = std::min(static_cast<int64_t>(centre), in - 1);
      const double fraction = centre - static_cast<double>(i);
      taps.push_back({i, static_cast<float>(1 - fraction)});
      if (fraction > 0) taps.push_back({std::min(i + 1, in - 1), static_cast<float>(fraction)});
    }
  }
  return result;
}

}  // namespace

std::vector<float> resize_image(const std::vector<float>& in, int64_t h, int64_t w, int64_t c, int64_t out_h,
                                int64_t out_w) {
  if (h == out_h && w == out_w) return in;
  const auto rows = taps_of_axis(h, out_h), columns = taps_of_axis(w, out_w);
  std::vector<float> out(static_cast<size_t>(out_h * out_w * c), 0.0f);
  for (int64_t y = 0; y < out_h; ++y)
    for (const Tap& row : rows[static_cast<size_t>(y)])
      for (int64_t x = 0; x < out_w; ++x)
        for (const Tap& column : columns[static_cast<size_t>(x)])
          for (int64_t k = 0; k < c; ++k)
            out[static_cast<size_t>((y * out_w + x) * c + k)] +=
                row.weight * column.weight * in[static_cast<size_t>((row.index * w + column.index) * c + k)];
  return out;
}

}  // namespace tw
