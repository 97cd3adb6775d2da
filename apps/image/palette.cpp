#include "apps/image/palette.h"

#include <algorithm>
#include <unordered_map>

#include "tensor/error.h"

namespace tw {
namespace {

struct Colour {
  std::array<uint8_t, 3> rgb;
  int64_t count;
};

struct Box {
  size_t begin, end;  // of the list of colours
  int widest = 0;     // the channel with the largest squared error
  double error = 0;   // of all channels, over the box's pixels
  std::array<double, 3> mean{};
};

Box measured(const std::vector<Colour>& colours, size_t begin, size_t end) {
  Box box{begin, end};
  double worst = -1;
  for (int c = 0; c < 3; ++c) {
    double count = 0, sum = 0, squares = 0;
    for (size_t i = begin; i < end; ++i) {
      const auto n = static_cast<double>(colours[i].count);
      const double value = colours[i].rgb[static_cast<size_t>(c)];
      count += n;
      sum += n * value;
      squares += n * value * value;
    }
    const double error = squares - sum * sum / count;
    box.mean[static_cast<size_t>(c)] = sum / count;
    box.error += error;
    if (error > worst) {
      worst = error;
      box.widest = c;
    }
  }
  return box;
}

std::vector<Box> median_cut(std::vector<Colour>& colours, size_t limit) {
  std::vector<Box> boxes{measured(colours, 0, colours.size())};
  while (boxes.size() < limit) {
    const auto box = std::max_element(boxes.begin(), boxes.end(),
                                      [](const Box& a, const Box& b) { return a.error < b.error; });
    if (box->end - box->begin < 2) break;
    const auto channel = static_cast<size_t>(box->widest);
    const double mean = box->mean[channel];
    const auto begin = colours.begin();
    const auto middle = std::stable_partition(
        begin + static_cast<std::ptrdiff_t>(box->begin), begin + static_cast<std::ptrdiff_t>(box->end),
        [&](const Colour& colour) { return colour.rgb[channel] <= mean; });
    const auto split = static_cast<size_t>(middle - begin);
    if (split == box->begin || split == box->end) break;
    const Box upper = measured(colours, split, box->end);
    *box = measured(colours, box->begin, split);
    boxes.push_back(upper);
  }
  return boxes;
}

}  // namespace

Indexed quantise_colours(const Image& image) {
  check(image.bit_depth == 8, "gif", "expected 8 bits, found ", image.bit_depth);
  const auto channels = static_cast<size_t>(image.channels);
  const size_t count = image.pixels.size() / channels;
  const auto key_of = [&](size_t i) {
    const uint16_t* p = &image.pixels[i * channels];
    return static_cast<uint32_t>(p[0] << 16 | p[channels / 2] << 8 | p[channels - 1]);
  };
  std::unordered_map<uint32_t, size_t> place;  // of a colour in the list; later: its palette index
  std::vector<Colour> colours;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t key = key_of(i);
    const auto [found, is_new] = place.emplace(key, colours.size());
    if (is_new)
      colours.push_back(
          {{static_cast<uint8_t>(key >> 16), static_cast<uint8_t>(key >> 8), static_cast<uint8_t>(key)}, 0});
    ++colours[found->second].count;
  }
  Indexed result;
  for (const Box& box : median_cut(colours, 256)) {
    for (size_t i = box.begin; i < box.end; ++i) {
      const auto& rgb = colours[i].rgb;
      place[static_cast<uint32_t>(rgb[0] << 16 | rgb[1] << 8 | rgb[2])] = result.palette.size();
    }
    std::array<uint8_t, 3> mean;
    for (size_t c = 0; c < 3; ++c) mean[c] = static_cast<uint8_t>(box.mean[c] + 0.5);
    result.palette.push_back(mean);
  }
  result.indices.resize(count);
  for (size_t i = 0; i < count; ++i) result.indices[i] = static_cast<uint8_t>(place[key_of(i)]);
  return result;
}

}  // namespace tw
