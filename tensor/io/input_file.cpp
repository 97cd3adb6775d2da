#include "tensor/io/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tensor/error.h"

namespace tw {

InputFile::InputFile(const std::string& path) : path_(path) {
  file_ =
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe must not block before it is refused
  if (file_ < 0) fail_data(path, "cannot be opened: ", std::strerror(errno));
  struct stat status {};
  const bool known = ::fstat(file_, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    ::close(file_);
    fail_data(path, "is ", known && S_ISDIR(status.st_mode) ? "a folder" : "not a regular file",
              ", expected a file");
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

InputFile::~InputFile() { ::close(file_); }

void InputFile::read(uint64_t offset, void* bytes, size_t count, const char* what) const {
  char* next = static_cast<char*>(bytes);
  if (offset > size_ || count > size_ - offset)
    fail_data(path_, "byte ", offset, ": expected ", count, " bytes of ", what,
              ", but the file ends at byte ", size_);
  while (count > 0) {
    const ssize_t got =
        ::pread(file_, next, std::min<size_t>(count, size_t{1} << 30), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_data(path_, "byte ", offset, ": cannot read ", what, ": ", std::strerror(errno));
    if (got == 0)
      fail_data(path_, "byte ", offset, ": the file became shorter while ", what, " was being read");
    next += got;
    offset += static_cast<uint64_t>(got);
    count -= static_cast<size_t>(got);
  }
}

std::string InputFile::read(uint64_t offset, size_t count, const char* what) const {
  if (offset > size_ || count > size_ - offset)  // before anything of that size is allocated
    fail_data(path_, "byte ", offset, ": expected ", count, " bytes of ", what,
              ", but the file ends at byte ", size_);
  std::string bytes(count, '\0');
  read(offset, bytes.data(), count, what);
  return bytes;
}

void refuse_download_accidents(const InputFile& file) {
  const std::string start =
      file.read(0, static_cast<size_t>(std::min<uint64_t>(file.size(), 22)), "the file");
  if (start == "version https://git-lf")
    fail_data(file.path(), "is a Git-LFS pointer, not the file itself; fetch it with `git lfs pull`");
  if (!start.empty() && start[0] == '<')
    fail_data(file.path(), "byte 0: starts with '<': an HTML page was saved instead of the file");
}

}  // namespace tw
