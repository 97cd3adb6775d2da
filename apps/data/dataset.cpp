#include "apps/data/dataset.h"

#include <charconv>

#include "apps/data/emoji.h"
#include "apps/data/folder.h"
#include "apps/data/idx.h"
#include "apps/data/npy_dataset.h"
#include "apps/data/tiles.h"
#include "tensor/error.h"

namespace tw {

std::unique_ptr<Dataset> open_dataset(const std::string& spec, const DatasetOptions& options) {
  check(options.resolution >= 0 && options.resolution <= 4096, "--resolution", "must be 1 to 4096, found ",
        options.resolution);
  const size_t colon = spec.find(':');
  const std::string kind = spec.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : spec.substr(colon + 1);
  if (kind == "emoji") return open_emoji(rest, options);
  check(!rest.empty() || (kind != "folder" && kind != "idx" && kind != "tiles" && kind != "npy"), "--data",
        "'", spec, "' names no file; expected e.g. ", kind, ":PATH");
  if (kind == "folder") return open_folder(rest, options);
  if (kind == "idx") return open_idx(rest, options);
  if (kind == "npy") return open_npy(rest, options);
  if (kind == "tiles") {
    const size_t comma = rest.rfind(',');
    int64_t side = 0;
    if (comma != std::string::npos) std::from_chars(rest.data() + comma + 1, rest.data() + rest.size(), side);
    check(side > 0, "--data", "'", spec, "' gives no tile size; expected e.g. tiles:DIR,32");
    return open_tiles(rest.substr(0, comma), side, options);
  }
  fail("--data", "unknown data set '", spec,
       "'; expected emoji, folder:DIR, idx:FILE, tiles:DIR,SIZE or npy:FILE");
}

}  // namespace tw
