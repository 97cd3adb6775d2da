// The command line of a binary: named options in groups, each of which may also come from a JSON file
// (--config) under the same name without the dashes. What stands on the command line wins.
//
//   Options options("tw-train", "Trains a diffusion model.");
//   options.group("Training");
//   options.add("--steps", settings.steps, "optimiser steps");
//   if (!options.parse(argc, argv)) return 0;  // --help or --version was printed
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tw {

class Options {
 public:
  Options(const std::string& program, const std::string& description);
  ~Options();

  // Options added from here on stand under this heading in --help.
  void group(const std::string& name);

  // The value that `value` holds now is the default. Names are "--long" (or "-s,--long"); a name without
  // dashes is a positional argument. A bool is a flag: --flip, --flip=false.
  void add(const std::string& name, std::string& value, const std::string& help,
           const std::string& kind = "TEXT");
  void add(const std::string& name, int64_t& value, const std::string& help);
  void add(const std::string& name, uint64_t& value, const std::string& help);
  void add(const std::string& name, double& value, const std::string& help);
  void add(const std::string& name, bool& value, const std::string& help);
  void add(const std::string& name, std::vector<int64_t>& value, const std::string& help);  // 1,4,16
  void add_choice(const std::string& name, std::string& value, const std::vector<std::string>& choices,
                  const std::string& help);
  void footer(const std::string& text);  // printed after the options

  // Reads the command line, then from the file of --config what the command line left open. Returns false
  // when
  // --help or --version has been printed. Throws Error{usage} for an unknown or malformed option (with the
  // nearest known one), Error{data} for an unreadable config file.
  bool parse(int argc, const char* const* argv);

  // Reads `file` as --config would, for options that were not given yet.
  void read_config(const std::string& file);

  bool given(const std::string& name) const;    // on the command line or in a config file
  void require(const std::string& name) const;  // throws Error{usage} unless given

  // Every option's value by name without dashes, as --config reads it.
  nlohmann::ordered_json resolved() const;
  const std::string& command_line() const { return command_line_; }  // quoted for a shell

 private:
  struct Entry;
  struct Parser;
  Entry& add_entry(const std::string& name, const std::string& help, const std::string& kind,
                   const std::string& fallback, bool flag);
  Entry* find(const std::string& key) const;
  void check_nothing_unknown() const;
  std::vector<std::string> names() const;

  std::unique_ptr<Parser> parser_;
  std::string group_ = "Options";
  std::string config_;
  std::string command_line_;
};

}  // namespace tw
