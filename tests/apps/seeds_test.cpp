// Seed lists and the texts of the progress line.
#include "apps/cli/seeds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apps/cli/memory.h"
#include "apps/cli/progress.h"
#include "tensor/error.h"

namespace tw {
namespace {

TEST(Seeds, RangesAndNumbers) {
  EXPECT_THAT(parse_seeds("0-3,100"), testing::ElementsAre(0, 1, 2, 3, 100));
  EXPECT_THAT(parse_seeds("7"), testing::ElementsAre(7));
  EXPECT_THAT(parse_seeds("18446744073709551615"), testing::ElementsAre(18446744073709551615ull));
}

TEST(Seeds, MistakesAreErrors) {
  for (const char* text : {"", ",", "1,", "a", "3-1", "1-", "-1", "1 2", "0-3,2", "0-99999999999", "1-2-3",
                           "99999999999999999999"})
    EXPECT_THROW(parse_seeds(text), Error) << text;
}

TEST(Progress, LineHoldsRateEtaAndMemory) {
  EXPECT_EQ(Progress::line(120, 1000, "it", 3.2, 1.25 * 1024 * 1024 * 1024),
            "120/1000 it  3.20 it/s  ETA 4:35  1.2 GiB");
  EXPECT_EQ(Progress::line(1, 3, "img", 0.5, 1024), "1/3 img  2.00 s/img  ETA 0:04  1.0 KiB");
  EXPECT_EQ(human_duration(7439), "2:03:59");
  EXPECT_EQ(human_duration(-1), "?");
}

TEST(Progress, QuietSaysNothing) {
  testing::internal::CaptureStderr();
  {
    Progress progress(10, "it", Progress::Style::quiet);
    progress.update(5);
    progress.say("hidden");
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Progress, LinesWithoutATerminal) {
  testing::internal::CaptureStderr();
  {
    Progress progress(10, "it", Progress::Style::lines);
    progress.update(1, "loss 2");
    progress.update(2);  // too soon for another line
    progress.update(10);
  }
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  EXPECT_THAT(text, testing::HasSubstr("loss 2"));
  EXPECT_EQ(text.find('\r'), std::string::npos);
}

TEST(Memory, ResidentIsAtMostThePeak) {
  const size_t now = resident_bytes();
  EXPECT_GT(now, 0u);
  EXPECT_GE(peak_resident_bytes() + (1u << 20), now);
}

}  // namespace
}  // namespace tw
