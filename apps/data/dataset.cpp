#include "apps/data/dataset.h"

#include "apps/data/emoji.h"
#include "tensor/error.h"

namespace tw {

std::unique_ptr<Dataset> open_dataset(const std::string& spec, const DatasetOptions& options) {
  if (spec == "emoji") return open_emoji(options.resolution);
  fail("--data", "unknown data set '", spec, "'; expected emoji");
}

}  // namespace tw
