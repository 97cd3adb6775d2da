#include "apps/cli/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <deque>
#include <fstream>
#include <iostream>

#include "apps/cli/suggest.h"
#include "apps/cli/version.h"
#include "tensor/error.h"

namespace tw {

using Json = nlohmann::ordered_json;

struct Options::Entry {
  std::string name;  // "--steps"
  std::string key;   // "steps"
  CLI::Option* option = nullptr;
  std::string text;   // CLI11 stores the given text here
  bool flag = false;  // takes no value
  bool given = false;
  std::function<void(const std::string&)> store;  // converts and stores; throws Error
  std::function<Json()> show;
};

struct Options::Parser {
  explicit Parser(const std::string& description, const std::string& program) : app(description, program) {}
  CLI::App app;
  std::deque<Entry> entries;  // a deque: CLI11 keeps pointers to the texts
};

namespace {

template <class Number>
Number parse_number(const std::string& name, const std::string& text, const char* expected) {
  Number value{};
  const char* begin = text.data();
  if (*begin == '+') ++begin;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, value);
  const bool whole = error == std::errc{} && stop == end && begin != end;
  if (!whole) throw Error(name + ": expected " + expected + ", got '" + text + "'");
  if constexpr (std::is_floating_point_v<Number>)
    if (!std::isfinite(value)) throw Error(name + ": expected a finite number, got '" + text + "'");
  return value;
}

std::string shell_quoted(const std::string& argument) {
  const bool plain = !argument.empty() && argument.find_first_not_of(
                                              "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                              "0123456789-_=+./:,@%") == std::string::npos;
  if (plain) return argument;
  std::string quoted = "'";
  for (char c : argument) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// A JSON value as the text one would type for it.
std::string typed(const std::string& key, const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  if (value.is_number()) return value.dump();
  if (value.is_array()) {
    std::string text;
    for (const Json& part : value) text += (text.empty() ? "" : ",") + typed(key, part);
    return text;
  }
  throw Error(key + ": expected a string, number, true/false or list, got " + value.type_name());
}

}  // namespace

Options::Options(const std::string& program, const std::string& description)
    : parser_(std::make_unique<Parser>(description, program)) {
  CLI::App& app = parser_->app;
  app.allow_extras();
  app.set_help_flag("-h,--help", "print this text");
  app.get_option("--help")->group("General");
  app.set_version_flag("--version", program + " " + version_text());
  app.get_option("--version")->group("General");
  app.get_formatter()->column_width(38);
  group("General");
  add("--config", config_, "JSON file with the same names as the options; the command line wins",
      "FILE.json");
  group("Options");
}

Options::~Options() = default;

void Options::group(const std::string& name) { group_ = name; }
void Options::footer(const std::string& text) { parser_->app.footer(text); }

Options::Entry& Options::add_entry(const std::string& name, const std::string& help, const std::string& kind,
                                   const std::string& fallback, bool flag) {
  Entry& entry = parser_->entries.emplace_back();
  entry.flag = flag;
  if (flag) {
    entry.option = parser_->app.add_flag(name, entry.text, help);
  } else {
    entry.option = parser_->app.add_option(name, entry.text, help);
    entry.option->type_name(kind)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    if (!fallback.empty()) entry.option->default_str(fallback);
  }
  entry.option->group(group_);
  entry.name = entry.option->get_name();
  entry.key = entry.name.substr(std::min(entry.name.find_first_not_of('-'), entry.name.size()));
  return entry;
}

void Options::add(const std::string& name, std::string& value, const std::string& help,
                  const std::string& kind) {
  Entry& entry = add_entry(name, help, kind, value, false);
  entry.store = [&value](const std::string& text) { value = text; };
  entry.show = [&value] { return Json(value); };
}

void Options::add(const std::string& name, int64_t& value, const std::string& help) {
  Entry& entry = add_entry(name, help, "INT", std::to_string(value), false);
  entry.store = [&value, &entry](const std::string& text) {
    value = parse_number<int64_t>(entry.name, text, "a whole number");
  };
  entry.show = [&value] { return Json(value); };
}

void Options::add(const std::string& name, uint64_t& value, const std::string& help) {
  Entry& entry = add_entry(name, help, "INT", std::to_string(value), false);
  entry.store = [&value, &entry](const std::string& text) {
    value = parse_number<uint64_t>(entry.name, text, "a whole number, zero or more");
  };
  entry.show = [&value] { return Json(value); };
}

void Options::add(const std::string& name, double& value, const std::string& help) {
  Entry& entry = add_entry(name, help, "NUMBER", Json(value).dump(), false);
  entry.store = [&value, &entry](const std::string& text) {
    value = parse_number<double>(entry.name, text, "a number");
  };
  entry.show = [&value] { return Json(value); };
}

void Options::add(const std::string& name, bool& value, const std::string& help) {
  Entry& entry = add_entry(name, help, "", "", true);
  entry.store = [&value, &entry](const std::string& text) {
    if (text != "true" && text != "false")
      throw Error(entry.name + ": expected true or false, got '" + text + "'");
    value = text == "true";
  };
  entry.show = [&value] { return Json(value); };
}

void Options::add(const std::string& name, std::vector<int64_t>& value, const std::string& help) {
  std::string fallback;
  for (int64_t part : value) fallback += (fallback.empty() ? "" : ",") + std::to_string(part);
  Entry& entry = add_entry(name, help, "INT,...", fallback, false);
  entry.store = [&value, &entry](const std::string& text) {
    value.clear();
    for (size_t begin = 0; begin <= text.size();) {
      const size_t comma = std::min(text.find(',', begin), text.size());
      value.push_back(parse_number<int64_t>(entry.name, text.substr(begin, comma - begin),
                                            "whole numbers separated by commas"));
      begin = comma + 1;
    }
  };
  entry.show = [&value] { return Json(value); };
}

void Options::add_choice(const std::string& name, std::string& value, const std::vector<std::string>& choices,
                         const std::string& help) {
  std::string kind;
  for (const std::string& choice : choices) kind += (kind.empty() ? "" : "|") + choice;
  Entry& entry = add_entry(name, help, kind, value, false);
  entry.store = [&value, &entry, choices, kind](const std::string& text) {
    if (std::find(choices.begin(), choices.end(), text) == choices.end())
      throw Error(entry.name + ": expected " + kind + ", got '" + text + "'" + did_you_mean(text, choices));
    value = text;
  };
  entry.show = [&value] { return Json(value); };
}

std::vector<std::string> Options::names() const {
  std::vector<std::string> names{"--help", "--version"};
  for (const Entry& entry : parser_->entries)
    if (entry.name.starts_with("-")) names.push_back(entry.name);
  return names;
}

Options::Entry* Options::find(const std::string& key) const {
  for (Entry& entry : parser_->entries)
    if (entry.key == key || entry.name == key) return &entry;
  return nullptr;
}

void Options::check_nothing_unknown() const {
  for (const std::string& token : parser_->app.remaining()) {
    if (token == "--") continue;
    if (!token.starts_with("-")) throw Error("unexpected argument '" + token + "'; options begin with --");
    const std::string name = token.substr(0, token.find('='));
    throw Error("unknown option " + name + did_you_mean(name, names()));
  }
}

bool Options::parse(int argc, const char* const* argv) {
  for (int i = 0; i < argc; ++i) command_line_ += (i ? " " : "") + shell_quoted(argv[i]);
  try {
    parser_->app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::cout << parser_->app.help();
    return false;
  } catch (const CLI::CallForVersion&) {
    std::cout << parser_->app.version() << "\n";
    return false;
  } catch (const CLI::ParseError& error) {
    throw Error(error.what());
  }
  check_nothing_unknown();
  for (Entry& entry : parser_->entries)
    if (entry.option->count() > 0) {
      entry.store(entry.option->results().back());
      entry.given = true;
    }
  if (!config_.empty()) read_config(config_);
  return true;
}

void Options::read_config(const std::string& file) {
  std::ifstream in(file);
  if (!in) fail_data(file, "cannot be read");
  Json json;
  try {
    json = Json::parse(in);
  } catch (const Json::parse_error& error) {
    fail_data(file, "not JSON: ", error.what());
  }
  if (!json.is_object()) fail_data(file, "expected a JSON object of options, found ", json.type_name());
  for (const auto& [key, value] : json.items()) {
    Entry* entry = find(key);
    std::vector<std::string> keys;
    for (const Entry& known : parser_->entries) keys.push_back(known.key);
    if (!entry) throw Error(file + ": unknown key \"" + key + "\"" + did_you_mean(key, keys));
    if (entry->given || key == "config") continue;
    try {
      entry->store(typed(key, value));
    } catch (const Error& error) {
      throw Error(file + ": " + error.what());
    }
    // An empty text is what --config wrote for an option that was not used.
    entry->given = !(value.is_string() && value.get<std::string>().empty());
  }
}

bool Options::given(const std::string& name) const {
  const Entry* entry = find(name);
  return entry && entry->given;
}

void Options::require(const std::string& name) const {
  if (!given(name)) throw Error(name + " is required (--help lists the options)");
}

Json Options::resolved() const {
  Json json = Json::object();
  for (const Entry& entry : parser_->entries)
    if (entry.key != "config") json[entry.key] = entry.show();
  return json;
}

}  // namespace tw
