#include "apps/data/emoji.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace tw {
namespace {

// The font and the list of Debian 12; a later font has more.
TEST(Emoji, AllBitmapsAreReadAndLabelled) {
  const auto emoji = open_dataset("emoji", {.resolution = 32});
  EXPECT_EQ(emoji->size(), 3926);
  EXPECT_EQ(emoji->classes(), 9);
  std::vector<int> count(9);
  int unlisted = 0;
  for (int64_t i = 0; i < emoji->size(); ++i) {
    ++count[static_cast<size_t>(emoji->label(i))];
    unlisted += emoji->name(i).rfind("glyph ", 0) == 0;
  }
  EXPECT_EQ(count, (std::vector<int>{166, 2157, 152, 133, 218, 85, 261, 493, 261}));
  EXPECT_EQ(unlisted, 270);
}

TEST(Emoji, SubsetsKeepGroupsAsClasses) {
  const auto some = open_dataset("emoji:animals,flags", {.resolution = 16});
  EXPECT_EQ(some->size(), 152 + 261);
  EXPECT_EQ(some->height(), 16);
  EXPECT_EQ(some->class_names(), (std::vector<std::string>{"Animals & Nature", "Flags"}));
  const auto people = open_dataset("emoji:people,no-tones", {.resolution = 8});
  EXPECT_LT(people->size(), 500);
  EXPECT_EQ(open_dataset("emoji:listed", {.resolution = 8})->size(), 3926 - 270);
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
