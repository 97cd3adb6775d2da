#include "apps/data/emoji.h"

#include <ft2build.h>
#include FT_FREETYPE_H
#include <hb.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "apps/data/stored_dataset.h"
#include "apps/image/resize.h"
#include "tensor/error.h"

namespace tw {
namespace {

constexpr const char* font_path = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf";
constexpr const char* list_path = "/usr/share/unicode/emoji/emoji-test.txt";
constexpr int people_class = 1, unlisted_class = 7;  // People & Body, Symbols

const std::vector<std::string>& groups() {
  static const std::vector<std::string> names{"Smileys & Emotion", "People & Body",   "Animals & Nature",
                                              "Food & Drink",      "Travel & Places", "Activities",
                                              "Objects",           "Symbols",         "Flags"};
  return names;
}

struct Entry {
  std::vector<uint32_t> sequence;
  int group;
  std::string name;
};

// Lines such as "1F600 ; fully-qualified # 😀 E1.0 grinning face" under "# group: ..." headings.
std::vector<Entry> read_list() {
  std::ifstream in(list_path);
  if (!in) fail_data(list_path, "cannot be read; it is in Debian's package unicode-data");
  std::vector<Entry> entries;
  int group = unlisted_class;
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("# group: ", 0) == 0) {
      const auto found = std::find(groups().begin(), groups().end(), line.substr(9));
      group = found == groups().end() ? people_class : static_cast<int>(found - groups().begin());
    }
    const size_t semicolon = line.find(';'), hash = line.find('#');
    if (line.empty() || line[0] == '#' || semicolon == std::string::npos || hash == std::string::npos)
      continue;
    Entry entry{{}, group, line.substr(hash + 2)};
    std::istringstream codes(line.substr(0, semicolon));
    for (std::string code; codes >> code;)
      entry.sequence.push_back(static_cast<uint32_t>(std::stoul(code, nullptr, 16)));
    // The comment is "<emoji> E1.0 <name>".
    const size_t version = entry.name.find(" E"), space = entry.name.find(' ', version + 1);
    if (version != std::string::npos && space != std::string::npos) entry.name = entry.name.substr(space + 1);
    entries.push_back(std::move(entry));
  }
  return entries;
}

// The glyph that HarfBuzz shapes each sequence of the list to, when it is a single one.
std::map<uint32_t, Entry> entries_by_glyph() {
  hb_blob_t* blob = hb_blob_create_from_file_or_fail(font_path);
  if (!blob) fail_data(font_path, "cannot be read; it is in Debian's package fonts-noto-color-emoji");
  hb_face_t* face = hb_face_create(blob, 0);
  hb_font_t* font = hb_font_create(face);
  std::map<uint32_t, Entry> result;
  for (Entry& entry : read_list()) {
    hb_buffer_t* buffer = hb_buffer_create();
    hb_buffer_add_utf32(buffer, entry.sequence.data(), static_cast<int>(entry.sequence.size()), 0, -1);
    hb_buffer_guess_segment_properties(buffer);
    hb_shape(font, buffer, nullptr, 0);
    unsigned count = 0;
    const hb_glyph_info_t* glyphs = hb_buffer_get_glyph_infos(buffer, &count);
    if (count == 1) result.emplace(glyphs[0].codepoint, std::move(entry));
    hb_buffer_destroy(buffer);
  }
  hb_font_destroy(font);
  hb_face_destroy(face);
  hb_blob_destroy(blob);
  return result;
}

class FreeTypeFace {
 public:
  FreeTypeFace() {
    if (FT_Init_FreeType(&library_)) fail("emoji", "FreeType could not be started");
    if (FT_New_Face(library_, font_path, 0, &face_) || FT_Select_Size(face_, 0))
      fail_data(font_path,
                "is not a colour bitmap font that FreeType can read (package fonts-noto-color-emoji)");
  }
  ~FreeTypeFace() { FT_Done_FreeType(library_); }
  FT_Face get() const { return face_; }

 private:
  FT_Library library_ = nullptr;
  FT_Face face_ = nullptr;
};

// Premultiplied BGRA on a white square, as (side, side, 3) in [-1, 1].
std::vector<float> on_white_square(const FT_Bitmap& bitmap) {
  const int64_t h = bitmap.rows, w = bitmap.width, side = std::max(h, w), top = (side - h) / 2,
                left = (side - w) / 2;
  std::vector<float> square(static_cast<size_t>(side * side * 3), 1.0f);
  for (int64_t y = 0; y < h; ++y)
    for (int64_t x = 0; x < w; ++x) {
      const unsigned char* bgra = bitmap.buffer + y * bitmap.pitch + x * 4;
      for (int c = 0; c < 3; ++c)
        square[static_cast<size_t>(((y + top) * side + x + left) * 3 + c)] =
            static_cast<float>(bgra[2 - c] + 255 - bgra[3]) / 127.5f - 1.0f;
    }
  return square;
}

struct Subset {
  std::vector<bool> groups;
  bool listed = false, tones = true;
};

Subset parse_subset(const std::string& text) {
  static const std::vector<std::string> words{"smileys",    "people",  "animals", "food", "travel",
                                              "activities", "objects", "symbols", "flags"};
  Subset subset{std::vector<bool>(words.size(), false)};
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, ',');) {
    const auto found = std::find(words.begin(), words.end(), word);
    if (found != words.end())
      subset.groups[static_cast<size_t>(found - words.begin())] = true;
    else if (word == "listed")
      subset.listed = true;
    else if (word == "no-tones")
      subset.tones = false;
    else
      fail("--data", "emoji has no subset '", word,
           "'; expected smileys, people, animals, food, travel, activities, objects, symbols, flags, listed "
           "or "
           "no-tones");
  }
  if (std::find(subset.groups.begin(), subset.groups.end(), true) == subset.groups.end())
    subset.groups.assign(words.size(), true);
  return subset;
}

}  // namespace

std::unique_ptr<Dataset> open_emoji(const std::string& subset_text, const DatasetOptions& options) {
  const Subset subset = parse_subset(subset_text);
  const int64_t resolution = options.resolution > 0 ? options.resolution : 32;
  std::vector<int> class_of_group;
  std::vector<std::string> names;
  for (size_t group = 0; group < groups().size(); ++group) {
    class_of_group.push_back(static_cast<int>(names.size()));
    if (subset.groups[group]) names.push_back(groups()[group]);
  }
  const FreeTypeFace face;
  const std::map<uint32_t, Entry> listed = entries_by_glyph();
  auto data = std::make_unique<StoredDataset>();
  for (FT_UInt glyph = 0; glyph < static_cast<FT_UInt>(face.get()->num_glyphs); ++glyph) {
    const auto found = listed.find(glyph);
    const bool known = found != listed.end();
    const int group = known ? found->second.group : unlisted_class;
    const std::string name = known ? found->second.name : "glyph " + std::to_string(glyph);
    if (!subset.groups[static_cast<size_t>(group)] || (subset.listed && !known) ||
        (!subset.tones && name.find("skin tone") != std::string::npos))
      continue;
    if (FT_Load_Glyph(face.get(), glyph, FT_LOAD_COLOR)) continue;
    const FT_Bitmap& bitmap = face.get()->glyph->bitmap;
    if (bitmap.pixel_mode != FT_PIXEL_MODE_BGRA || bitmap.width == 0) continue;
    const int64_t side = std::max(bitmap.rows, bitmap.width);
    const std::vector<float> pixels =
        resize_image(on_white_square(bitmap), side, side, 3, resolution, resolution);
    data->add(from_float(pixels.data(), resolution, resolution, 3, 8),
              class_of_group[static_cast<size_t>(group)], name);
  }
  if (data->size() == 0) fail_data(font_path, "holds no colour bitmaps");
  data->set_class_names(names);
  return data;
}

}  // namespace tw
