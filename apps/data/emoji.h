// The 3,926 colour emoji of Debian's fonts-noto-color-emoji (OFL 1.1), with classes from unicode-data's
// emoji-test.txt.
#pragma once

#include "apps/data/dataset.h"

namespace tw {

// Each 136x128 bitmap is put on white, centred on a square and reduced to resolution x resolution (0: 32) by
// area averaging. Classes are the nine groups of emoji-test.txt (its "Component" swatches count as people).
// 270 images are what no listed sequence shapes to: parts of flags, keycaps and other symbols of the font;
// they are called "glyph <number>" and count as "Symbols".
//
// subset: "" for all, or words joined by commas: smileys, people, animals, food, travel, activities, objects,
// symbols, flags keep these groups, which are then the classes 0, 1, ...; listed leaves out what the list
// does not name; no-tones leaves out the skin tone variants.
std::unique_ptr<Dataset> open_emoji(const std::string& subset, const DatasetOptions& options);

}  // namespace tw
