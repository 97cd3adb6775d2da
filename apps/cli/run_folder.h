// The folder of one run: what was asked for, by which build, and what happened.
//
//   config.json   every option with its resolved value; --config reads it back
//   command.txt   the command lines that worked in this folder, one a line
//   version.txt   version, compiler, instruction set, threads
//   log.jsonl     one JSON object a line
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace tw {

class RunFolder {
 public:
  // Makes the folder, or opens it again when `resume`. Throws Error{usage} when it already holds a run and
  // resume is not set, Error{data} when it cannot be written.
  RunFolder(const std::filesystem::path& path, bool resume);

  const std::filesystem::path& path() const { return path_; }
  void write_settings(const nlohmann::ordered_json& resolved, const std::string& command_line);

  // Appends a line to log.jsonl and flushes it.
  void log(const nlohmann::ordered_json& line);
  // Drops the lines whose "step" is above `step`, so that a resumed run logs each step once.
  void rewind_log(int64_t step);

 private:
  std::filesystem::path path_;
  std::ofstream log_;
};

// Throws Error{data} naming the folder when a file cannot be made in it.
void check_writable(const std::filesystem::path& folder);

}  // namespace tw
