// report.html: one page that holds everything it shows, images included, and asks for nothing from the
// network.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "apps/image/image.h"

namespace tw {

class HtmlReport {
 public:
  using Rows = std::vector<std::pair<std::string, std::string>>;  // label, value
  struct Figure {
    std::string bytes;  // of a PNG, GIF or JPEG file
    std::string caption;
    bool pixelated = true;  // small images are enlarged without smoothing
    int64_t width = 0;      // CSS pixels it is shown at, at most; 0: the column
  };
  static Figure figure(const Image& image, std::string caption, bool pixelated = true, int64_t width = 0);
  // The file as it is, e.g. an animated GIF. Throws Error{data} when it cannot be read.
  static Figure figure_of_file(const std::string& path, std::string caption, bool pixelated = true,
                               int64_t width = 0);

  explicit HtmlReport(std::string title, std::string subtitle = {});
  // All texts are escaped. A section's parts follow it in the order they are added.
  void section(const std::string& heading, const std::string& text = {});
  void paragraph(const std::string& text);
  void figures(const std::vector<Figure>& figures);  // side by side where there is room
  void table(const Rows& rows, const std::string& caption = {});
  void tiles(const Rows& facts);          // a few numbers that matter, large
  void command(const std::string& line);  // in a fixed-width font, to be copied

  std::string html() const;
  void write(const std::string& path) const;  // appears complete or not at all

 private:
  std::string title_, subtitle_, body_;
  bool section_open_ = false;
};

}  // namespace tw
