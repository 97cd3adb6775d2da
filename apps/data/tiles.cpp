#include "apps/data/tiles.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <map>

#include "apps/data/fit.h"
#include "apps/data/stored_dataset.h"
#include "apps/image/read_image.h"
#include "tensor/error.h"

namespace tw {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> sheets_of(const std::string& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) fail_data(folder, "there is no such folder");
  std::vector<fs::path> sheets;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".png") sheets.push_back(entry.path());
  if (error) fail_data(folder, "cannot be listed: ", error.message());
  if (sheets.empty()) fail_data(folder, "holds no .png file");
  std::sort(sheets.begin(), sheets.end());
  return sheets;
}

// train_3_cat -> {3, "cat"}; a negative number when the name is not of this kind.
std::pair<int, std::string> class_of(const std::string& stem) {
  const size_t last = stem.rfind('_');
  if (last == std::string::npos || last == 0) return {-1, ""};
  const size_t before = stem.rfind('_', last - 1);
  const char* begin = stem.data() + (before == std::string::npos ? 0 : before + 1);
  int number = -1;
  const auto parsed = std::from_chars(begin, stem.data() + last, number);
  if (parsed.ec != std::errc() || parsed.ptr != stem.data() + last || number < 0 || number > 9999)
    return {-1, ""};
  return {number, stem.substr(last + 1)};
}

// Names by class number without gaps; empty when the file names do not say.
std::vector<std::string> classes_of(const std::vector<fs::path>& sheets) {
  std::map<int, std::string> by_number;
  for (const fs::path& sheet : sheets) {
    const auto [number, name] = class_of(sheet.stem().string());
    if (number < 0 || by_number.emplace(number, name).first->second != name) return {};
  }
  std::vector<std::string> names(static_cast<size_t>(by_number.rbegin()->first) + 1);
  for (size_t k = 0; k < names.size(); ++k) {
    const auto found = by_number.find(static_cast<int>(k));
    names[k] = found == by_number.end() ? "class " + std::to_string(k) : found->second;
  }
  return names;
}

std::vector<std::string> tile_names(fs::path sheet) {
  std::vector<std::string> names;
  std::ifstream in(sheet.replace_extension(".txt"));
  for (std::string line; std::getline(in, line);)
    if (!line.empty()) names.push_back(line);
  return names;
}

Image tile_of(const Image& sheet, int64_t top, int64_t left, int64_t side) {
  Image tile = make_image(side, side, sheet.channels, sheet.bit_depth);
  for (int64_t y = 0; y < side; ++y)
    std::copy_n(sheet.pixels.begin() + ((top + y) * sheet.width + left) * sheet.channels,
                side * sheet.channels, tile.pixels.begin() + y * side * sheet.channels);
  return tile;
}

}  // namespace

std::unique_ptr<Dataset> open_tiles(const std::string& folder, int64_t side, const DatasetOptions& options) {
  const std::vector<fs::path> sheets = sheets_of(folder);
  const std::vector<std::string> classes = classes_of(sheets);
  auto data = std::make_unique<StoredDataset>();
  for (const fs::path& path : sheets) {
    Image sheet;
    try {
      sheet = read_image(path.string());
    } catch (const Error& error) {
      if (options.strict) throw;
      warn(options, std::string(error.what()) + "; it is left out");
      continue;
    }
    if (sheet.height % side != 0 || sheet.width % side != 0)
      fail_data(path.string(), "is ", sheet.height, " x ", sheet.width, ", not a whole number of ", side,
                " x ", side, " tiles");
    const int64_t columns = sheet.width / side, tiles = sheet.height / side * columns;
    const std::vector<std::string> names = tile_names(path);
    if (static_cast<int64_t>(names.size()) > tiles)
      fail_data(path.string(), "has ", tiles, " tiles but the text file beside it names ", names.size());
    const int64_t count = names.empty() ? tiles : static_cast<int64_t>(names.size());
    const int label = classes.empty() ? 0 : class_of(path.stem().string()).first;
    for (int64_t i = 0; i < count; ++i) {
      const Image tile =
          fit(tile_of(sheet, i / columns * side, i % columns * side, side), options.resolution);
      if (data->size() == 0) data->reserve(count * static_cast<int64_t>(sheets.size()), tile);
      const std::string name = names.empty() ? std::to_string(i) : names[static_cast<size_t>(i)];
      data->add(tile, label, path.string() + "[" + name + "]", /*mixed=*/options.resolution > 0);
    }
  }
  if (data->size() == 0) fail_data(folder, "none of its ", sheets.size(), " sheets can be read");
  data->set_class_names(classes);
  return data;
}

}  // namespace tw
