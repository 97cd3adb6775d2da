// Parsed event by event and not into a tree: a tree would keep the last of two equal keys, where a file with
// duplicate names must be refused, and would lose the byte offsets of the messages.
#include "tensor/io/safetensors_header.h"

#include <nlohmann/json.hpp>
#include <set>

#include "tensor/error.h"

namespace tw {
namespace {

using Json = nlohmann::json;

class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  HeaderReader(const std::string& path, SafeTensorsHeader& header) : path_(path), header_(header) {}

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t value) override { return unexpected(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override {
    return unexpected("the number " + text);
  }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ == State::shape) {
      entry_.shape.push_back(value);
    } else if (state_ == State::offsets) {
      if (offsets_ == 2) wrong("data_offsets of '", entry_.name, "' has more than two numbers");
      (offsets_++ == 0 ? entry_.begin : entry_.end) = value;
    } else {
      return unexpected(std::to_string(value));
    }
    return true;
  }

  bool string(string_t& text) override {
    if (state_ == State::metadata_value) {
      header_.metadata[key_] = text;
      state_ = State::metadata;
    } else if (state_ == State::dtype) {
      entry_.dtype = text;
      state_ = State::entry;
    } else {
      return unexpected("the string '" + text + "'");
    }
    return true;
  }

  bool start_object(size_t) override {
    if (state_ == State::start)
      state_ = State::top;
    else if (state_ == State::top_value)
      state_ = in_metadata_ ? State::metadata : State::entry;
    else
      return unexpected("an object");
    return true;
  }

  bool end_object() override {
    if (state_ == State::metadata) {
      state_ = State::top;
    } else if (state_ == State::entry) {
      for (const char* member : {"dtype", "shape", "data_offsets"})
        if (!members_.count(member)) wrong("'", entry_.name, "' has no '", member, "'");
      header_.entries.push_back(entry_);
      state_ = State::top;
    } else {
      state_ = State::finished;
    }
    return true;
  }

  bool key(string_t& name) override {
    key_ = name;
    if (state_ == State::top) {
      if (!names_.insert(name).second) wrong("the name '", name, "' appears twice");
      in_metadata_ = name == "__metadata__";
      entry_ = {};
      entry_.name = name;
      offsets_ = 0;
      members_.clear();
      state_ = State::top_value;
    } else if (state_ == State::metadata) {
      if (header_.metadata.count(name)) wrong("the metadata key '", name, "' appears twice");
      state_ = State::metadata_value;
    } else {
      if (!members_.insert(name).second) wrong("'", entry_.name, "' has '", name, "' twice");
      if (name == "dtype")
        state_ = State::dtype;
      else if (name == "shape")
        state_ = State::before_shape;
      else if (name == "data_offsets")
        state_ = State::before_offsets;
      else
        wrong("'", entry_.name, "' has an unknown member '", name,
              "', expected dtype, shape and data_offsets");
    }
    return true;
  }

  bool start_array(size_t) override {
    if (state_ == State::before_shape)
      state_ = State::shape;
    else if (state_ == State::before_offsets)
      state_ = State::offsets;
    else
      return unexpected("a list");
    return true;
  }

  bool end_array() override {
    if (state_ == State::offsets && offsets_ != 2)
      wrong("data_offsets of '", entry_.name, "' has ", offsets_, " numbers, expected two");
    state_ = State::entry;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    fail_data(path_, "byte ", 8 + position, ": the header is not valid JSON: ", error.what());
  }

 private:
  enum class State {
    start,
    top,
    top_value,
    metadata,
    metadata_value,
    entry,
    dtype,
    before_shape,
    shape,
    before_offsets,
    offsets,
    finished
  };

  template <class... Parts>
  [[noreturn]] void wrong(const Parts&... parts) {
    fail_data(path_, "header (from byte 8): ", parts...);
  }

  bool unexpected(const std::string& found) {
    const char* expected = "a JSON object";
    if (state_ == State::metadata_value) expected = "a string";
    if (state_ == State::dtype) expected = "the name of a dtype";
    if (state_ == State::before_shape || state_ == State::before_offsets) expected = "a list of numbers";
    if (state_ == State::shape || state_ == State::offsets) expected = "a whole number from 0 to 2^64 - 1";
    const std::string where = key_.empty() ? std::string("at the start") : "after the key '" + key_ + "'";
    wrong("expected ", expected, " ", where,
          entry_.name.empty() || entry_.name == key_ ? "" : " of '" + entry_.name + "'", ", found ", found);
  }

  const std::string& path_;
  SafeTensorsHeader& header_;
  State state_ = State::start;
  std::set<std::string> names_, members_;
  std::string key_;
  SafeTensorsEntry entry_;
  bool in_metadata_ = false;
  int offsets_ = 0;
};

}  // namespace

uint64_t safetensors_dtype_bits(std::string_view dtype) {
  static const std::map<std::string_view, uint64_t> bits{
      {"BOOL", 8},        {"U8", 8},          {"I8", 8},      {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8},
      {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
      {"I32", 32},        {"U32", 32},        {"F32", 32},    {"I64", 64},    {"U64", 64},    {"F64", 64},
      {"C64", 64},        {"F4", 4},          {"F6_E2M3", 6}, {"F6_E3M2", 6}};
  const auto found = bits.find(dtype);
  return found == bits.end() ? 0 : found->second;
}

SafeTensorsHeader parse_safetensors_header(const std::string& path, std::string_view json) {
  if (json.empty() || json[0] != '{') fail_data(path, "byte 8: the header does not start with '{'");
  // The JSON parser takes a zero byte for the end of its input, which would hide what follows it.
  const size_t zero = json.find('\0');
  if (zero != std::string_view::npos) fail_data(path, "byte ", 8 + zero, ": zero byte in the header");
  SafeTensorsHeader header;
  HeaderReader reader(path, header);
  Json::sax_parse(json.begin(), json.end(), &reader);
  return header;
}

}  // namespace tw
