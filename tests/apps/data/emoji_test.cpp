#include "apps/data/emoji.h"

#include <gtest/gtest.h>


#include <algorithm>
#include <map>

namespace tw {
namespace {

TEST(Emoji, AllBitmapsAreReadAndLabelled) {
  const auto emoji = open_dataset("emoji", {.resolution = 32});
  EXPECT_EQ(emoji->size(), 3926);
  EXPECT_EQ(emoji->classes(), 9);
  std::map<int, int> count;
  int unlisted = 0;
  for (int64_t i = 0; i < emoji->size(); ++i) {
    ++count[emoji->label(i)];
    unlisted += emoji->name(i).rfind("glyph ", 0) == 0;
  }
  for (int group = 0; group < 9; ++group) {
    EXPECT_GT(count[group], 80) << emoji->class_names()[static_cast<size_t>(group)];
    RecordProperty(emoji->class_names()[static_cast<size_t>(group)], count[group]);
    std::cout << emoji->class_names()[static_cast<size_t>(group)] << ": " << count[group] << "\n";
  }
  std::cout << "unlisted: " << unlisted << "\n";
  EXPECT_LT(unlisted, 300);
}

TEST(Emoji, AFaceIsYellowOnWhite) {
  const auto emoji = open_dataset("emoji", {.resolution = 32});
  std::vector<float> pixels(32 * 32 * 3);
  for (int64_t i = 0; i < emoji->size(); ++i) {
    if (emoji->name(i) != "grinning face") continue;
    emoji->read(i, pixels.data());
    EXPECT_GT(*std::min_element(pixels.begin(), pixels.begin() + 3), 0.98f) << "the corner is white";
    const float* forehead = &pixels[(8 * 32 + 16) * 3];
    EXPECT_GT(forehead[0], 0.7f);
    EXPECT_GT(forehead[1], 0.3f);
    EXPECT_LT(forehead[2], 0.0f);
    return;
  }
  FAIL() << "no image is named 'grinning face'";
}

}  // namespace
}  // namespace tw
