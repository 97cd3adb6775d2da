// A data set whose pixels are held in memory, as integers of the files' bit depth.
#pragma once

#include "apps/data/dataset.h"
#include "apps/image/image.h"

namespace tw {

class StoredDataset : public Dataset {
 public:
  // Appends an image; the first decides the format. Another size is an Error{data} that names both files. So
  // are other channels or bits, unless `mixed`: then all are widened to the richest seen (grey to RGB, 8 to
  // 16 bits).
  void add(const Image& image, int label, const std::string& name, bool mixed = false);
  void set_class_names(std::vector<std::string> names) { class_names_ = std::move(names); }
  void reserve(int64_t images,
               const Image& like);  // throws Error{memory} when that is more than a machine has

  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  int64_t height() const override { return height_; }
  int64_t width() const override { return width_; }
  int64_t channels() const override { return channels_; }
  int bit_depth() const override { return bit_depth_; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  void read(int64_t index, float* hwc) const override;
  int label(int64_t index) const override;
  std::string name(int64_t index) const override;

 private:
  void widen_all(int64_t channels, int bit_depth);
  Image stored(int64_t index) const;
  void append(const Image& image);
  size_t values_per_image() const { return static_cast<size_t>(height_ * width_ * channels_); }
  size_t position(int64_t index) const;  // throws when out of range

  int64_t height_ = 0, width_ = 0, channels_ = 0;
  int bit_depth_ = 0;
  std::vector<uint8_t> narrow_;  // the pixels when bit_depth is 8
  std::vector<uint16_t> wide_;   // the pixels when it is 16
  std::vector<int> labels_;
  std::vector<std::string> names_, class_names_;
};

}  // namespace tw
