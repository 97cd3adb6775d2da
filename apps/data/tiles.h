// Sheets of equal square tiles, many small images in one PNG.
#pragma once

#include "apps/data/dataset.h"

namespace tw {

// Every PNG of `folder` (not of its sub-folders), in the byte order of the names, cut into side x side tiles,
// row by row. A text file of the same name (.txt for .png) names the tiles, one a line, and so says how many
// there are. Classes are in the file names: "..._<number>_<class>.png" gives class <number> the name <class>;
// if any name is not of this kind, or two disagree, there are no classes.
std::unique_ptr<Dataset> open_tiles(const std::string& folder, int64_t side, const DatasetOptions& options);

}  // namespace tw
