#include "apps/report/canvas.h"

#include <ft2build.h>
#include FT_FREETYPE_H

#include <algorithm>
#include <cmath>

namespace tw {
namespace {

constexpr const char* font_path = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";

std::u32string code_points(std::string_view utf8) {
  std::u32string result;
  for (size_t i = 0; i < utf8.size();) {
    const auto lead = static_cast<unsigned char>(utf8[i]);
    const size_t length = lead < 0x80       ? 1
                          : lead >> 5 == 6  ? 2
                          : lead >> 4 == 14 ? 3
                          : lead >> 3 == 30 ? 4
                                            : 0;
    if (length == 0 || i + length > utf8.size()) {
      result += U'\ufffd';
      ++i;
      continue;
    }
    char32_t code = length == 1 ? lead : lead & (0x7fu >> length);
    for (size_t k = 1; k < length; ++k) code = code << 6 | (static_cast<unsigned char>(utf8[i + k]) & 0x3fu);
    result += code;
    i += length;
  }
  return result;
}

}  // namespace

struct Canvas::Font {
  Font() {
    if (FT_Init_FreeType(&library) == 0 && FT_New_Face(library, font_path, 0, &face)) face = nullptr;
  }
  ~Font() {
    if (library) FT_Done_FreeType(library);
  }
  FT_Library library = nullptr;
  FT_Face face = nullptr;  // null when the font is not installed
};

Canvas::Canvas(int64_t height, int64_t width, Rgb background)
    : image_(make_image(height, width, 3)), font_(std::make_unique<Font>()) {
  for (size_t i = 0; i < image_.pixels.size(); ++i) image_.pixels[i] = background[i % 3];
}
Canvas::~Canvas() = default;

void Canvas::blend(int64_t x, int64_t y, Rgb colour, double coverage) {
  if (x < 0 || y < 0 || x >= image_.width || y >= image_.height || coverage <= 0) return;
  uint16_t* pixel = &image_.pixels[static_cast<size_t>((y * image_.width + x) * 3)];
  for (size_t c = 0; c < 3; ++c)
    pixel[c] =
        static_cast<uint16_t>(std::nearbyint(pixel[c] + (colour[c] - pixel[c]) * std::min(coverage, 1.0)));
}

void Canvas::fill(double left, double top, double right, double bottom, Rgb colour, double opacity) {
  const auto overlap = [](double low, double high, int64_t i) {
    return std::max(0.0, std::min(high, static_cast<double>(i + 1)) - std::max(low, static_cast<double>(i)));
  };
  for (auto y = static_cast<int64_t>(std::floor(std::max(top, 0.0)));
       y < std::min<double>(bottom, image_.height); ++y)
    for (auto x = static_cast<int64_t>(std::floor(std::max(left, 0.0)));
         x < std::min<double>(right, image_.width); ++x)
      blend(x, y, colour, opacity * overlap(left, right, x) * overlap(top, bottom, y));
}

// A pixel's coverage falls from one to zero across the last pixel of its distance to the segment.
void Canvas::line(double x0, double y0, double x1, double y1, double width, Rgb colour, double opacity) {
  const double reach = width / 2 + 1, dx = x1 - x0, dy = y1 - y0, square = dx * dx + dy * dy;
  const auto first_y = static_cast<int64_t>(std::floor(std::max(std::min(y0, y1) - reach, 0.0)));
  const auto last_y = static_cast<int64_t>(std::min<double>(std::max(y0, y1) + reach, image_.height - 1));
  const auto first_x = static_cast<int64_t>(std::floor(std::max(std::min(x0, x1) - reach, 0.0)));
  const auto last_x = static_cast<int64_t>(std::min<double>(std::max(x0, x1) + reach, image_.width - 1));
  for (int64_t y = first_y; y <= last_y; ++y)
    for (int64_t x = first_x; x <= last_x; ++x) {
      const double px = x + 0.5 - x0, py = y + 0.5 - y0;
      const double along = square > 0 ? std::clamp((px * dx + py * dy) / square, 0.0, 1.0) : 0.0;
      const double distance = std::hypot(px - along * dx, py - along * dy);
      blend(x, y, colour, opacity * std::clamp(width / 2 + 0.5 - distance, 0.0, 1.0));
    }
}

double Canvas::text_width(std::string_view utf8, double size) {
  if (!font_->face) return 0;
  FT_Set_Char_Size(font_->face, 0, static_cast<FT_F26Dot6>(size * 64), 72, 72);
  double width = 0;
  for (char32_t code : code_points(utf8))
    if (!FT_Load_Char(font_->face, code, FT_LOAD_NO_HINTING))
      width += static_cast<double>(font_->face->glyph->linearHoriAdvance) / 65536;
  return width;
}

void Canvas::text(double x, double y, std::string_view utf8, double size, Rgb colour, Anchor anchor) {
  if (!font_->face) return;
  const double width = text_width(utf8, size);  // sets the size, too
  double pen = anchor == Anchor::left ? x : anchor == Anchor::centre ? x - width / 2 : x - width;
  for (char32_t code : code_points(utf8)) {
    // The fraction of the pen's position goes into the outline, so that letters are evenly spaced.
    FT_Vector shift{static_cast<FT_Pos>(std::nearbyint((pen - std::floor(pen)) * 64)), 0};
    FT_Set_Transform(font_->face, nullptr, &shift);
    if (FT_Load_Char(font_->face, code, FT_LOAD_NO_HINTING | FT_LOAD_RENDER)) continue;
    const FT_GlyphSlot glyph = font_->face->glyph;
    const auto left = static_cast<int64_t>(std::floor(pen)) + glyph->bitmap_left;
    const auto top = static_cast<int64_t>(std::nearbyint(y)) - glyph->bitmap_top;
    for (int64_t row = 0; row < glyph->bitmap.rows; ++row)
      for (int64_t column = 0; column < glyph->bitmap.width; ++column)
        blend(left + column, top + row, colour,
              glyph->bitmap.buffer[row * glyph->bitmap.pitch + column] / 255.0);
    pen += static_cast<double>(glyph->linearHoriAdvance) / 65536;
  }
  FT_Set_Transform(font_->face, nullptr, nullptr);
}

}  // namespace tw
