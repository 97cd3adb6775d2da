#include "apps/cli/run_folder.h"

#include <vector>

#include "apps/cli/version.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace tw {

namespace fs = std::filesystem;

void check_writable(const fs::path& folder) {
  const fs::path probe = folder / ".tweedie-write-probe";
  const bool written = static_cast<bool>(std::ofstream(probe) << "probe");
  std::error_code ignored;
  fs::remove(probe, ignored);
  if (!written) fail_data(folder.string(), "the folder cannot be written to");
}

RunFolder::RunFolder(const fs::path& path, bool resume) : path_(path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail_data(path.string(), "the folder cannot be made: ", error.message());
  check_writable(path);
  if (!resume && fs::exists(path / "config.json"))
    throw Error(path.string() +
                ": already holds a run; continue it with --resume latest, or choose another --out");
}

void RunFolder::write_settings(const nlohmann::ordered_json& resolved, const std::string& command_line) {
  write_file_atomically((path_ / "config.json").string(), resolved.dump(2) + "\n");
  write_file_atomically((path_ / "version.txt").string(), build_description());
  std::ofstream(path_ / "command.txt", std::ios::app) << command_line << "\n";
}

void RunFolder::log(const nlohmann::ordered_json& line) {
  if (!log_.is_open()) log_.open(path_ / "log.jsonl", std::ios::app);
  log_ << line.dump() << std::endl;
  if (!log_) fail_data((path_ / "log.jsonl").string(), "cannot be written (disk full?)");
}

void RunFolder::rewind_log(int64_t step) {
  const fs::path path = path_ / "log.jsonl";
  std::ifstream in(path);
  if (!in) return;
  std::string kept, line;
  while (std::getline(in, line)) {
    // A line that a crash cut short does not parse; it is dropped too.
    const auto entry = nlohmann::json::parse(line, nullptr, false);
    if (entry.is_object() && entry.value("step", int64_t{0}) <= step) kept += line + "\n";
  }
  log_.close();
  write_file_atomically(path.string(), kept);
}

}  // namespace tw
