// A data set: images of one size, read into (h, w, c) floats in [-1, 1], each with a class label or none.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace tw {

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  virtual int64_t height() const = 0;
  virtual int64_t width() const = 0;
  virtual int64_t channels() const = 0;                             // 1 or 3
  virtual int bit_depth() const = 0;                                // 8 or 16: what the files held
  virtual const std::vector<std::string>& class_names() const = 0;  // empty when there are no labels
  // Writes height * width * channels values in [-1, 1]. Throws when the index is out of range.
  virtual void read(int64_t index, float* hwc) const = 0;
  virtual int label(int64_t index) const = 0;  // 0 .. classes() - 1; 0 when there are no labels
  virtual std::string name(int64_t index) const = 0;

  int64_t classes() const { return static_cast<int64_t>(class_names().size()); }
};

struct DatasetOptions {
  int64_t resolution = 0;  // 0: as the files are; else the central square of every image, resized
  bool strict = false;     // a file that cannot be read is an error, not a warning
  std::function<void(const std::string&)> warn = {};  // unset: a line on stderr
};

// The kinds of data set:
//   emoji[:SUBSET]   the emoji of Debian's fonts-noto-color-emoji (apps/data/emoji.h)
//   folder:DIR       PNG and JPEG files; sub-folders are the classes (apps/data/folder.h)
//   idx:FILE         MNIST's format, gzipped or not (apps/data/idx.h)
//   tiles:DIR,SIZE   sheets of square tiles (apps/data/tiles.h)
//   npy:FILE         a NumPy array (apps/data/npy_dataset.h)
// The order of the images depends on nothing but the data. Throws Error{data} naming the file and what is
// wrong with it, Error{usage} for an unknown kind.
std::unique_ptr<Dataset> open_dataset(const std::string& spec, const DatasetOptions& options = {});

}  // namespace tw
