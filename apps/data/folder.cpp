#include "apps/data/folder.h"

#include <algorithm>
#include <filesystem>

#include "apps/data/fit.h"
#include "apps/data/stored_dataset.h"
#include "apps/image/read_image.h"
#include "tensor/error.h"

namespace tw {
namespace {

namespace fs = std::filesystem;

// Paths relative to `folder`.
std::vector<std::string> image_files(const std::string& folder) {
  std::error_code error;
  if (!fs::exists(folder, error)) fail_data(folder, "there is no such folder");
  if (!fs::is_directory(folder, error)) fail_data(folder, "is not a folder");
  std::vector<std::string> files;
  fs::recursive_directory_iterator entry(folder, fs::directory_options::follow_directory_symlink, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    if (entry.depth() > 32)
      fail_data(entry->path().string(), "lies more than 32 folders deep (a link to above?)");
    if (entry->path().filename().string().starts_with(".")) {
      entry.disable_recursion_pending();
      continue;
    }
    std::error_code unknown;
    if (has_image_extension(entry->path().string()) && entry->is_regular_file(unknown))
      files.push_back(entry->path().lexically_relative(folder).string());
  }
  if (error) fail_data(folder, "cannot be listed: ", error.message());
  if (files.empty()) fail_data(folder, "holds no .png, .jpg or .jpeg file");
  std::sort(files.begin(), files.end());
  return files;
}

// The first component of each path, once; empty when a file lies directly in the folder.
std::vector<std::string> classes_of(const std::vector<std::string>& files) {
  std::vector<std::string> names;
  for (const std::string& file : files) {
    const size_t slash = file.find('/');
    if (slash == std::string::npos) return {};
    const std::string name = file.substr(0, slash);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::unique_ptr<Dataset> open_folder(const std::string& folder, const DatasetOptions& options) {
  const std::vector<std::string> files = image_files(folder);
  const std::vector<std::string> classes = classes_of(files);
  auto data = std::make_unique<StoredDataset>();
  std::string first_failure;
  for (const std::string& file : files) {
    const std::string path = (fs::path(folder) / file).string();
    Image image;
    try {
      image = read_image(path);
    } catch (const Error& error) {
      if (options.strict) throw;
      warn(options, std::string(error.what()) + "; it is left out");
      if (first_failure.empty()) first_failure = error.what();
      continue;
    }
    image = fit(image, options.resolution);
    if (data->size() == 0) data->reserve(static_cast<int64_t>(files.size()), image);
    int label = 0;
    if (!classes.empty())
      label = static_cast<int>(
          std::lower_bound(classes.begin(), classes.end(), file.substr(0, file.find('/'))) - classes.begin());
    data->add(image, label, path, /*mixed=*/options.resolution > 0);
  }
  if (data->size() == 0)
    fail_data(folder, "none of its ", files.size(), " image files can be read; the first: ", first_failure);
  data->set_class_names(classes);
  return data;
}

}  // namespace tw
