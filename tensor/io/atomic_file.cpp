#include "tensor/io/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "tensor/error.h"

namespace tw {

namespace fs = std::filesystem;

AtomicFile::AtomicFile(const std::string& path) : path_(path), target_(path) {
  std::error_code ignored;
  if (fs::is_symlink(path, ignored)) target_ = fs::weakly_canonical(path, ignored).string();
  struct stat status {};
  const bool exists = ::stat(target_.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) fail_data(path_, "cannot be written: it is a folder");
  if (exists && !S_ISREG(status.st_mode)) {
    file_ = ::open(target_.c_str(), O_WRONLY | O_CLOEXEC);
    if (file_ < 0) fail_system("cannot be opened for writing");
    return;
  }
  if (exists && ::access(target_.c_str(), W_OK) != 0) fail_system("cannot be replaced");
  static std::atomic<unsigned> counter{0};
  temporary_ = target_ + ".part-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                 exists ? status.st_mode & 0777 : 0666);
  if (file_ < 0) {
    temporary_.clear();
    fail_system("cannot be created");
  }
}

AtomicFile::~AtomicFile() {
  if (file_ >= 0) ::close(file_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail_system(const char* what) {
  const int error = errno;
  fail_data(path_, what, " (at byte ", position_, "): ", std::strerror(error));
}

void AtomicFile::write(const void* bytes, size_t count) {
  check(file_ >= 0, "AtomicFile", "write() after commit()");
  const char* next = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t written = ::write(file_, next, std::min<size_t>(count, size_t{1} << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_system("cannot be written");
    next += written;
    position_ += static_cast<size_t>(written);
    count -= static_cast<size_t>(written);
  }
}

void AtomicFile::commit() {
  check(file_ >= 0, "AtomicFile", "commit() twice");
  const bool regular = !temporary_.empty();
  if (regular && ::fsync(file_) != 0) fail_system("cannot be flushed to the disk");
  const int file = file_;
  file_ = -1;
  if (::close(file) != 0) fail_system("cannot be closed");
  if (!regular) return;
  if (std::rename(temporary_.c_str(), target_.c_str()) != 0) fail_system("cannot be renamed into place");
  temporary_.clear();
  // The rename itself must survive a power cut; a file system that cannot do it is no reason to fail.
  const fs::path folder = fs::path(target_).parent_path();
  const int handle = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle >= 0) {
    ::fsync(handle);
    ::close(handle);
  }
}

void write_file_atomically(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

}  // namespace tw
