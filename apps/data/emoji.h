// The 3,926 colour emoji of Debian's fonts-noto-color-emoji (OFL 1.1), with classes from unicode-data's
// emoji-test.txt.
#pragma once

#include "apps/data/dataset.h"

namespace tw {

// Each 136x128 bitmap is put on white, centred on a square and reduced to resolution x resolution by area
// averaging. Classes are the nine groups of emoji-test.txt; an image that no sequence of that list shapes to
// is a "Symbols".
std::unique_ptr<Dataset> open_emoji(int64_t resolution);

}  // namespace tw
