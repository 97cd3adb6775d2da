// A canvas for plots: anti-aliased lines and text on an RGB image.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "apps/image/image.h"

namespace tw {

using Rgb = std::array<uint8_t, 3>;

enum class Anchor { left, centre, right };

class Canvas {
 public:
  Canvas(int64_t height, int64_t width, Rgb background);
  ~Canvas();
  Canvas(const Canvas&) = delete;
  Canvas& operator=(const Canvas&) = delete;

  // Coordinates are in pixels from the top left corner; pixel centres lie at halves. `opacity` is 0 .. 1.
  void fill(double left, double top, double right, double bottom, Rgb colour, double opacity = 1);
  void line(double x0, double y0, double x1, double y1, double width, Rgb colour, double opacity = 1);
  // UTF-8 text with its baseline at y, in DejaVu Sans; where that font is not installed nothing is drawn.
  void text(double x, double y, std::string_view utf8, double size, Rgb colour, Anchor anchor = Anchor::left);
  double text_width(std::string_view utf8, double size);

  const Image& image() const { return image_; }

 private:
  struct Font;
  void blend(int64_t x, int64_t y, Rgb colour, double coverage);

  Image image_;
  std::unique_ptr<Font> font_;
};

}  // namespace tw
