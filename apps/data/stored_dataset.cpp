#include "apps/data/stored_dataset.h"

#include <unistd.h>

#include <algorithm>

#include "tensor/error.h"

namespace tw {
namespace {

std::string format_of(int64_t channels, int bit_depth) {
  return (channels == 1 ? "grey" : "RGB") + std::string(" of ") + std::to_string(bit_depth) + " bits";
}

}  // namespace

void StoredDataset::add(const Image& image, int label, const std::string& name, bool mixed) {
  if (labels_.empty()) {
    height_ = image.height;
    width_ = image.width;
    channels_ = image.channels;
    bit_depth_ = image.bit_depth;
  }
  if (image.height != height_ || image.width != width_)
    fail_data(name, "is ", image.height, " x ", image.width, " but ", names_[0], " is ", height_, " x ",
              width_, "; all images must be of one size (--resolution makes them so)");
  if (image.channels == channels_ && image.bit_depth == bit_depth_) {
    append(image);
  } else if (mixed) {
    widen_all(std::max(channels_, image.channels), std::max(bit_depth_, image.bit_depth));
    append(widen(image, channels_, bit_depth_));
  } else {
    fail_data(name, "is ", format_of(image.channels, image.bit_depth), " but ", names_[0], " is ",
              format_of(channels_, bit_depth_),
              "; all images must be of one kind (--resolution makes them so)");
  }
  labels_.push_back(label);
  names_.push_back(name);
}

void StoredDataset::reserve(int64_t images, const Image& like) {
  const double bytes =
      static_cast<double>(images) * static_cast<double>(like.pixels.size()) * like.bit_depth / 8;
  const double memory =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (bytes > 0.8 * memory)
    throw Error(ErrorKind::memory,
                detail::join("data: ", images, " images of ", like.height, " x ", like.width, " take ",
                             static_cast<int64_t>(bytes / (1 << 20)),
                             " MiB, more than the memory holds; --resolution makes them smaller"));
  if (like.bit_depth == 8)
    narrow_.reserve(static_cast<size_t>(bytes));
  else
    wide_.reserve(static_cast<size_t>(bytes) / 2);
}

void StoredDataset::append(const Image& image) {
  if (bit_depth_ == 8)
    for (uint16_t pixel : image.pixels) narrow_.push_back(static_cast<uint8_t>(pixel));
  else
    wide_.insert(wide_.end(), image.pixels.begin(), image.pixels.end());
}

Image StoredDataset::stored(int64_t index) const {
  Image image = make_image(height_, width_, channels_, bit_depth_);
  const size_t begin = static_cast<size_t>(index) * values_per_image();
  for (size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = bit_depth_ == 8 ? narrow_[begin + i] : wide_[begin + i];
  return image;
}

void StoredDataset::widen_all(int64_t channels, int bit_depth) {
  if (channels == channels_ && bit_depth == bit_depth_) return;
  std::vector<uint8_t> narrow;
  std::vector<uint16_t> wide;
  for (int64_t i = 0; i < size(); ++i) {
    const Image image = widen(stored(i), channels, bit_depth);
    if (bit_depth == 8)
      narrow.insert(narrow.end(), image.pixels.begin(), image.pixels.end());
    else
      wide.insert(wide.end(), image.pixels.begin(), image.pixels.end());
  }
  narrow_ = std::move(narrow);
  wide_ = std::move(wide);
  channels_ = channels;
  bit_depth_ = bit_depth;
}

size_t StoredDataset::position(int64_t index) const {
  check(index >= 0 && index < size(), "data", "there is no image ", index, "; the data set has ", size());
  return static_cast<size_t>(index);
}

void StoredDataset::read(int64_t index, float* hwc) const {
  const size_t count = values_per_image(), begin = position(index) * count;
  const float scale = bit_depth_ == 8 ? 255.0f : 65535.0f;
  for (size_t i = 0; i < count; ++i) {
    const float pixel = bit_depth_ == 8 ? narrow_[begin + i] : wide_[begin + i];
    hwc[i] = (2 * pixel - scale) / scale;
  }
}

int StoredDataset::label(int64_t index) const { return labels_[position(index)]; }
std::string StoredDataset::name(int64_t index) const { return names_[position(index)]; }

}  // namespace tw
