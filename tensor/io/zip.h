// ZIP archives, as NumPy (.npz) and PyTorch (.pt) write them: stored or deflated members, ZIP64.
//
// Only the central directory is believed: local headers are written before the sizes are known and often hold
// none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/io/atomic_file.h"
#include "tensor/io/input_file.h"

namespace tw {

struct ZipMember {
  std::string name;
  uint64_t begin = 0;       // of the data in the file
  uint64_t compressed = 0;  // bytes in the file
  uint64_t size = 0;        // bytes when unpacked
  uint32_t crc = 0;
  bool deflated = false;
};

// Throws Error{data} naming the file, the byte offset, what was expected and what was found. Refused:
// encrypted or split archives, other methods, duplicate names, members outside of the file or longer than
// deflate could make them.
class ZipFile {
 public:
  explicit ZipFile(const std::string& path);
  const std::vector<ZipMember>& members() const { return members_; }
  const std::string& path() const { return file_.path(); }
  std::string read(const ZipMember& member) const;  // unpacked, CRC checked

 private:
  InputFile file_;
  std::vector<ZipMember> members_;
};

// Writes stored members with ZIP64 records, so that no size is too large.
class ZipWriter {
 public:
  explicit ZipWriter(const std::string& path) : file_(path) {}
  void add(const std::string& name, std::string_view head,
           std::string_view data);  // the member is head + data
  void commit();

 private:
  struct Entry {
    std::string name;
    uint64_t offset, size;
    uint32_t crc;
  };
  AtomicFile file_;
  std::vector<Entry> entries_;
};

}  // namespace tw
