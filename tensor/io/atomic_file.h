// AtomicFile: a file appears under its name complete or not at all.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tw {

// Writes to a temporary file in the target's folder; commit() flushes it to the disk and renames it over the
// target, so a crash, a full disk or an exception leaves whatever was there before. Without commit() nothing
// changes. A symbolic link is followed; a target that is no regular file (a pipe, /dev/stdout) is written
// directly. Every method throws Error{data} naming the target, the byte position and the system's reason.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, size_t count);
  void write(std::string_view text) { write(text.data(), text.size()); }
  size_t position() const { return position_; }
  void commit();

 private:
  [[noreturn]] void fail_system(const char* what);

  std::string path_;       // as given, for messages
  std::string target_;     // links resolved
  std::string temporary_;  // empty when the target is written directly
  int file_ = -1;
  size_t position_ = 0;
};

// The whole content at once.
void write_file_atomically(const std::string& path, std::string_view content);

}  // namespace tw
