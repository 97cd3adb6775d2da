#include "tensor/io/npy_header.h"

#include <cstring>
#include <set>

#include "tensor/error.h"

namespace tw {
namespace {

// Reads the one Python literal that a header is: a dictionary of a string, a truth value and a tuple of whole
// numbers.
class LiteralParser {
 public:
  LiteralParser(const std::string& where, std::string_view text, size_t position)
      : where_(where), text_(text), position_(position) {}

  NpyHeader parse() {
    NpyHeader header;
    std::set<std::string> seen;
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      if (!seen.insert(key).second) wrong("the key '" + key + "' appears twice");
      expect(':');
      if (key == "descr")
        header.descr = descr();
      else if (key == "fortran_order")
        header.fortran_order = truth();
      else if (key == "shape")
        header.shape = shape();
      else
        wrong("unknown key '" + key + "', expected descr, fortran_order and shape");
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    for (const char* key : {"descr", "fortran_order", "shape"})
      if (!seen.count(key)) wrong(std::string("the key '") + key + "' is missing");
    skip_blanks();
    if (next_ != text_.size()) wrong("expected the end of the header");
    return header;
  }

 private:
  [[noreturn]] void wrong(const std::string& what) const {
    fail_data(where_, "byte ", position_ + next_, ": array header: ", what);
  }
  void skip_blanks() {
    while (next_ < text_.size() && std::strchr(" \t\r\n", text_[next_]) && text_[next_] != '\0') ++next_;
  }
  bool accept(char expected) {
    skip_blanks();
    if (next_ == text_.size() || text_[next_] != expected) return false;
    ++next_;
    return true;
  }
  void expect(char expected) {
    if (!accept(expected)) wrong(std::string("expected '") + expected + "'" + found());
  }
  std::string found() const {
    return next_ == text_.size() ? ", found its end" : std::string(", found '") + text_[next_] + "'";
  }
  std::string string() {
    skip_blanks();
    if (next_ == text_.size() || (text_[next_] != '\'' && text_[next_] != '"'))
      wrong("expected a string" + found());
    const char quote = text_[next_];
    const size_t end = text_.find(quote, next_ + 1);
    if (end == std::string_view::npos) wrong("a string does not end");
    const std::string value(text_.substr(next_ + 1, end - next_ - 1));
    if (value.find('\\') != std::string::npos) wrong("a backslash in a string");
    next_ = end + 1;
    return value;
  }
  std::string descr() {
    skip_blanks();
    if (next_ < text_.size() && (text_[next_] == '[' || text_[next_] == '('))
      wrong("a structured array (records) cannot be read");
    return string();
  }
  bool truth() {
    skip_blanks();
    for (const char* word : {"True", "False"})
      if (text_.substr(next_, std::strlen(word)) == word) {
        next_ += std::strlen(word);
        return word[0] == 'T';
      }
    wrong("expected True or False" + found());
  }
  Shape shape() {
    Shape extents;
    expect('(');
    bool comma = true;
    while (!accept(')')) {
      if (!comma) wrong("expected ',' or ')'" + found());
      skip_blanks();
      uint64_t value = 0;
      const size_t begin = next_;
      for (; next_ < text_.size() && text_[next_] >= '0' && text_[next_] <= '9'; ++next_)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, static_cast<uint64_t>(text_[next_] - '0'), &value) ||
            value > INT64_MAX)
          wrong("an extent of more than 2^63 - 1");
      if (next_ == begin) wrong("expected an extent (a whole number)" + found());
      if (next_ < text_.size() && text_[next_] == 'L') ++next_;  // Python 2
      if (extents.rank() == Shape::max_rank)
        wrong("more than " + std::to_string(Shape::max_rank) + " dimensions are not supported");
      extents.push_back(static_cast<int64_t>(value));
      comma = accept(',');
    }
    if (extents.rank() == 1 && !comma) wrong("a shape of one extent must end with a comma");
    return extents;
  }

  const std::string& where_;
  std::string_view text_;
  size_t position_;  // of the text in the file
  size_t next_ = 0;
};

}  // namespace

NpyHeader parse_npy_header(const std::string& where, std::string_view head) {
  if (head.substr(0, 6) != std::string_view("\x93NUMPY", 6))
    fail_data(where, "byte 0: expected \"\\x93NUMPY\" (is this an .npy file?)");
  if (head.size() < 10) fail_data(where, "byte 6: the array header is cut off at byte ", head.size());
  const int major = static_cast<unsigned char>(head[6]), minor = static_cast<unsigned char>(head[7]);
  if (major < 1 || major > 3 || minor != 0)
    fail_data(where, "byte 6: format version ", major, ".", minor, ", expected 1.0, 2.0 or 3.0");
  size_t length = 0;
  const size_t width = major == 1 ? 2 : 4;
  if (head.size() < 8 + width) fail_data(where, "byte 8: the array header is cut off at byte ", head.size());
  for (size_t i = 0; i < width; ++i)
    length |= static_cast<size_t>(static_cast<unsigned char>(head[8 + i])) << 8 * i;
  const size_t begin = 8 + width;
  if (head.size() - begin < length)
    fail_data(where, "byte ", begin, ": expected an array header of ", length, " bytes, found ",
              head.size() - begin);
  NpyHeader header = LiteralParser(where, head.substr(begin, length), begin).parse();
  header.data_begin = begin + length;
  return header;
}

std::string format_npy_header(std::string_view descr, const Shape& shape) {
  std::string text =
      "{'descr': '" + std::string(descr) + "', 'fortran_order': False, 'shape': " + shape.str() + ", }";
  const size_t length = (10 + text.size() + 1 + 63) / 64 * 64 - 10;
  text.resize(length - 1, ' ');
  text += '\n';
  std::string header("\x93NUMPY\1\0", 8);
  header += static_cast<char>(length & 0xff);
  header += static_cast<char>(length >> 8);
  return header + text;
}

}  // namespace tw
