#include "apps/data/idx.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "apps/data/fit.h"
#include "apps/data/stored_dataset.h"
#include "tensor/error.h"

namespace tw {
namespace {

namespace fs = std::filesystem;

// A file read through zlib, which passes on what is not gzipped.
class GzFile {
 public:
  explicit GzFile(const std::string& path) : path_(path) {
    std::error_code error;
    if (fs::is_directory(path, error)) fail_data(path, "is a folder, expected a file");
    errno = 0;
    file_ = gzopen(path.c_str(), "rb");
    if (!file_) fail_data(path, "cannot be opened: ", std::strerror(errno));
  }
  ~GzFile() { gzclose(file_); }
  GzFile(const GzFile&) = delete;
  GzFile& operator=(const GzFile&) = delete;

  // Up to `count` bytes; fewer only at the end of the file.
  std::vector<unsigned char> read(size_t count) {
    std::vector<unsigned char> bytes;
    while (bytes.size() < count) {  // memory grows with what is really there, whatever the header claims
      const size_t before = bytes.size(), piece = std::min<size_t>(count - before, 1 << 20);
      bytes.resize(before + piece);
      const int got = gzread(file_, bytes.data() + before, static_cast<unsigned>(piece));
      bytes.resize(before + static_cast<size_t>(std::max(got, 0)));
      int status = Z_OK;
      const char* message = gzerror(file_, &status);
      if (got < 0 || (status != Z_OK && status != Z_STREAM_END))
        fail_data(path_, "is damaged after byte ", bytes.size(), " of its content: ", message);
      if (static_cast<size_t>(got) < piece) break;
    }
    return bytes;
  }

 private:
  std::string path_;
  gzFile file_;
};

struct Idx {
  std::vector<int64_t> extents;
  std::vector<unsigned char> bytes;
};

Idx read_idx(const std::string& path) {
  GzFile file(path);
  const std::vector<unsigned char> magic = file.read(4);
  if (magic.size() < 4 || magic[0] != 0 || magic[1] != 0 || magic[3] < 1 || magic[3] > 4)
    fail_data(path, "is not an idx file: it must begin with the bytes 0 0 8 and the number of dimensions");
  if (magic[2] != 8)
    fail_data(path, "holds elements of idx type ", static_cast<int>(magic[2]),
              "; only 8 (unsigned bytes) is read");
  Idx idx;
  const std::vector<unsigned char> header = file.read(size_t{4} * magic[3]);
  if (header.size() < size_t{4} * magic[3]) fail_data(path, "ends within its header");
  int64_t total = 1;
  for (size_t d = 0; d < magic[3]; ++d) {
    const unsigned char* p = &header[4 * d];
    const int64_t extent = int64_t{p[0]} << 24 | p[1] << 16 | p[2] << 8 | p[3];
    idx.extents.push_back(extent);
    if (extent == 0) fail_data(path, "extent ", d, " is zero: it holds no elements");
    if (__builtin_mul_overflow(total, extent, &total) || total > (int64_t{1} << 40))
      fail_data(path, "its header claims more than 2^40 elements");
  }
  idx.bytes = file.read(static_cast<size_t>(total));
  if (static_cast<int64_t>(idx.bytes.size()) != total)
    fail_data(path, "its header promises ", total, " elements, found ", idx.bytes.size());
  if (!file.read(1).empty())
    fail_data(path, "goes on after the ", total, " elements that its header promises");
  return idx;
}

// "" when there is none.
std::string labels_path(const std::string& images) {
  const fs::path path(images);
  std::string name = path.filename().string();
  const auto replace = [&](const std::string& from, const std::string& to) {
    const size_t at = name.rfind(from);
    if (at != std::string::npos) name.replace(at, from.size(), to);
    return at != std::string::npos;
  };
  if (!replace("images", "labels")) return "";
  if (!replace("idx3", "idx1")) replace("idx4", "idx1");
  const std::string plain = name.ends_with(".gz") ? name.substr(0, name.size() - 3) : name;
  for (const std::string& candidate : {name, plain, plain + ".gz"})
    if (fs::is_regular_file(path.parent_path() / candidate)) return (path.parent_path() / candidate).string();
  return "";
}

}  // namespace

std::unique_ptr<Dataset> open_idx(const std::string& path, const DatasetOptions& options) {
  const Idx images = read_idx(path);
  const size_t rank = images.extents.size();
  if (rank < 3) fail_data(path, "has ", rank, " dimensions, expected (n, h, w) or (n, h, w, c)");
  const int64_t count = images.extents[0], channels = rank == 4 ? images.extents[3] : 1;
  if (channels != 1 && channels != 3) fail_data(path, "has ", channels, " channels, expected 1 or 3");
  Idx labels;
  const std::string labels_file = labels_path(path);
  if (!labels_file.empty()) {
    labels = read_idx(labels_file);
    if (labels.extents.size() != 1 || labels.extents[0] != count)
      fail_data(labels_file, "holds ", labels.bytes.size(), " labels for the ", count, " images of ", path);
  }
  auto data = std::make_unique<StoredDataset>();
  Image image = make_image(images.extents[1], images.extents[2], channels);
  int largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(images.bytes.begin() + i * static_cast<int64_t>(image.pixels.size()), image.pixels.size(),
                image.pixels.begin());
    const Image fitted = fit(image, options.resolution);
    if (i == 0) data->reserve(count, fitted);
    const int label = labels.bytes.empty() ? 0 : labels.bytes[static_cast<size_t>(i)];
    largest = std::max(largest, label);
    data->add(fitted, label, path + "[" + std::to_string(i) + "]");
  }
  if (!labels.bytes.empty()) {
    std::vector<std::string> names;
    for (int k = 0; k <= largest; ++k) names.push_back(std::to_string(k));
    data->set_class_names(names);
  }
  return data;
}

}  // namespace tw
