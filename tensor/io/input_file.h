// InputFile: a regular file opened for reading at any position.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tw {

// Throws Error{data} naming the path, the byte offset, what was expected and what was found.
// Not a memory map: a file that another process truncates gives an error here and not a bus error, and
// elements arrive aligned whatever their position in the file.
class InputFile {
 public:
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }  // when it was opened
  // Reads exactly `count` bytes from `offset`; `what` names them in the message when the file ends before.
  void read(uint64_t offset, void* bytes, size_t count, const char* what) const;
  std::string read(uint64_t offset, size_t count, const char* what) const;

 private:
  std::string path_;
  int file_ = -1;
  uint64_t size_ = 0;
};

// Throws a helpful Error{data} if the file is one of the usual download accidents: a Git-LFS pointer or an
// HTML page.
void refuse_download_accidents(const InputFile& file);

}  // namespace tw
