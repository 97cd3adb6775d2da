// A folder of PNG and JPEG files.
#pragma once

#include "apps/data/dataset.h"

namespace tw {

// All files with the extensions .png, .jpg and .jpeg under `folder`, at any depth, in the byte order of their
// paths; names that begin with a dot are passed over. When every one lies in a sub-folder, the sub-folders of
// `folder` are the classes, in order; otherwise there are no classes. Without a resolution all must agree in
// size, channels and bits; with one, they are made to. A file that cannot be read is a warning, or with
// strict an error; none that can is an error.
std::unique_ptr<Dataset> open_folder(const std::string& folder, const DatasetOptions& options);

}  // namespace tw
