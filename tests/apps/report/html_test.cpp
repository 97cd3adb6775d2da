#include "apps/report/html.h"

#include "apps/image/gif.h"
#include "tests/apps/image/test_image.h"

namespace tw {
namespace {

using testing::HasSubstr;
using testing::Not;

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(HtmlReport, HoldsEverythingAndAsksForNothing) {
  const TemporaryFolder folder;
  write_gif(folder / "a.gif", {test_image(4, 4, 3)});
  HtmlReport report("A <title> & more", "sub");
  report.tiles({{"speed", "3 img/s"}});
  report.section("Samples", "text with <script>alert(1)</script>");
  report.figures({HtmlReport::figure(test_image(4, 4, 3), "a \"quoted\" caption"),
                  HtmlReport::figure_of_file(folder / "a.gif", "moving")});
  report.table({{"key", "a < b"}}, "Settings");
  report.command("tw-sample --class '<3>'");
  const std::string html = report.html();
  EXPECT_THAT(html, HasSubstr("<h1>A &lt;title&gt; &amp; more</h1>"));
  EXPECT_THAT(html, HasSubstr("data:image/png;base64,iVBORw0KGgo"));
  EXPECT_THAT(html, HasSubstr("data:image/gif;base64,R0lGOD"));
  EXPECT_THAT(html, HasSubstr("a &quot;quoted&quot; caption"));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("http")));
  EXPECT_THAT(html, HasSubstr("prefers-color-scheme:dark"));
  for (const char* tag : {"section", "figure", "table", "div", "dl", "pre"}) {
    const std::string name = tag;
    EXPECT_EQ(count(html, "<" + name + " ") + count(html, "<" + name + ">"), count(html, "</" + name + ">"))
        << tag;
  }
  report.write(folder / "report.html");
  EXPECT_EQ(std::filesystem::file_size(folder / "report.html"), html.size());
}

TEST(HtmlReport, RefusesWhatIsNoImageAndUnwritablePlaces) {
  const TemporaryFolder folder;
  write_bytes(folder / "x.png", "text");
  HtmlReport report("t");
  EXPECT_THROW(report.figures({HtmlReport::figure_of_file(folder / "x.png", "")}), Error);
  data_error([&] { HtmlReport::figure_of_file(folder / "none.png", ""); });
  data_error([&] { report.write(folder / "none/report.html"); });
}

}  // namespace
}  // namespace tw
