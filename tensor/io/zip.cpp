#include "tensor/io/zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "tensor/error.h"

namespace tw {
namespace {

constexpr uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50, end_signature = 0x06054b50,
                   end64_signature = 0x06064b50, locator64_signature = 0x07064b50;
constexpr uint64_t local_size = 30, central_size = 46, end_size = 22, end64_size = 56, locator64_size = 20;
constexpr uint16_t stored = 0, deflate_method = 8;

template <class T>
T at(const std::string& bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

struct Directory {
  uint64_t entries, size, begin;
};

// The end record is the last one, before a comment of at most 65535 bytes; it names the central directory.
Directory find_directory(const InputFile& file) {
  const std::string& path = file.path();
  const uint64_t tail_size = std::min<uint64_t>(file.size(), end_size + 65535);
  const uint64_t tail_begin = file.size() - tail_size;
  const std::string tail = file.read(tail_begin, static_cast<size_t>(tail_size), "the end of the archive");
  for (size_t i = tail.size() < end_size ? 0 : tail.size() - end_size + 1; i-- > 0;) {
    if (at<uint32_t>(tail, i) != end_signature || i + end_size + at<uint16_t>(tail, i + 20) != tail.size())
      continue;
    const uint64_t end_begin = tail_begin + i;
    Directory directory{at<uint16_t>(tail, i + 10), at<uint32_t>(tail, i + 12), at<uint32_t>(tail, i + 16)};
    const bool split = at<uint16_t>(tail, i + 4) != at<uint16_t>(tail, i + 6) ||
                       at<uint16_t>(tail, i + 8) != at<uint16_t>(tail, i + 10);
    if (split) fail_data(path, "byte ", end_begin, ": the archive is split over several files");
    uint64_t limit = end_begin;
    if (end_begin >= locator64_size) {
      const std::string locator = file.read(end_begin - locator64_size, locator64_size, "the ZIP64 locator");
      if (at<uint32_t>(locator, 0) == locator64_signature) {
        const uint64_t begin = at<uint64_t>(locator, 8);
        const std::string end64 = file.read(begin, end64_size, "the ZIP64 end record");
        if (at<uint32_t>(end64, 0) != end64_signature)
          fail_data(path, "byte ", begin, ": expected the ZIP64 end record");
        directory = {at<uint64_t>(end64, 32), at<uint64_t>(end64, 40), at<uint64_t>(end64, 48)};
        limit = begin;
      }
    }
    if (directory.begin > limit || directory.size > limit - directory.begin)
      fail_data(path, "byte ", end_begin, ": the central directory of ", directory.size, " bytes at ",
                directory.begin, " does not fit before byte ", limit);
    if (directory.begin + directory.size != limit)
      fail_data(path, "byte ", directory.begin + directory.size, ": ",
                limit - directory.begin - directory.size,
                " bytes lie between the central directory and its end record");
    if (directory.entries > directory.size / central_size)
      fail_data(path, "byte ", directory.begin, ": ", directory.entries,
                " members do not fit in a directory of ", directory.size, " bytes");
    return directory;
  }
  fail_data(path, "is no ZIP archive, or is cut off: no end record in its last ", tail_size, " bytes");
}

// Sizes and the offset that are all ones in the directory stand in the ZIP64 extra field, in this order.
void read_zip64(const std::string& path, const std::string& extra, uint64_t position, ZipMember& member,
                uint64_t& local_begin) {
  for (size_t i = 0; i + 4 <= extra.size();) {
    const size_t length = at<uint16_t>(extra, i + 2);
    if (i + 4 + length > extra.size()) fail_data(path, "byte ", position + i, ": an extra field is cut off");
    if (at<uint16_t>(extra, i) == 1) {
      size_t next = i + 4;
      for (uint64_t* value : {&member.size, &member.compressed, &local_begin}) {
        if (*value != 0xffffffffu) continue;
        if (next + 8 > i + 4 + length)
          fail_data(path, "byte ", position + i, ": the ZIP64 extra field is too short");
        *value = at<uint64_t>(extra, next);
        next += 8;
      }
      return;
    }
    i += 4 + length;
  }
}

}  // namespace

ZipFile::ZipFile(const std::string& path) : file_(path) {
  refuse_download_accidents(file_);
  const Directory directory = find_directory(file_);
  const std::string bytes =
      file_.read(directory.begin, static_cast<size_t>(directory.size), "the central directory");
  std::set<std::string> names;
  size_t i = 0;
  for (uint64_t n = 0; n < directory.entries; ++n) {
    const uint64_t position = directory.begin + i;
    if (bytes.size() - i < central_size || at<uint32_t>(bytes, i) != central_signature)
      fail_data(path, "byte ", position, ": expected entry ", n, " of ", directory.entries,
                " of the central directory");
    const size_t name = at<uint16_t>(bytes, i + 28), extra = at<uint16_t>(bytes, i + 30),
                 comment = at<uint16_t>(bytes, i + 32);
    if (bytes.size() - i < central_size + name + extra + comment)
      fail_data(path, "byte ", position, ": entry ", n, " of the central directory is cut off");
    ZipMember member;
    member.name = bytes.substr(i + central_size, name);
    member.crc = at<uint32_t>(bytes, i + 16);
    member.compressed = at<uint32_t>(bytes, i + 20);
    member.size = at<uint32_t>(bytes, i + 24);
    uint64_t local = at<uint32_t>(bytes, i + 42);
    read_zip64(path, bytes.substr(i + central_size + name, extra), position + central_size + name, member,
               local);
    const uint16_t flags = at<uint16_t>(bytes, i + 8), method = at<uint16_t>(bytes, i + 10);
    if (flags & 1) fail_data(path, "byte ", position, ": '", member.name, "' is encrypted");
    if (method != stored && method != deflate_method)
      fail_data(path, "byte ", position, ": '", member.name, "' has compression method ", method,
                ", expected 0 or 8");
    member.deflated = method == deflate_method;
    if (!names.insert(member.name).second)
      fail_data(path, "byte ", position, ": the name '", member.name, "' appears twice");
    const std::string header = file_.read(local, local_size, "a member's local header");
    if (at<uint32_t>(header, 0) != local_signature)
      fail_data(path, "byte ", local, ": expected the local header of '", member.name, "'");
    member.begin = local + local_size + at<uint16_t>(header, 26) + at<uint16_t>(header, 28);
    if (member.begin > directory.begin || member.compressed > directory.begin - member.begin)
      fail_data(path, "byte ", member.begin, ": '", member.name, "' of ", member.compressed,
                " bytes reaches beyond the members, which end at byte ", directory.begin);
    // Deflate cannot expand by more than 1032; a larger promise would only make us allocate.
    const bool possible =
        member.deflated ? member.size / 1032 <= member.compressed : member.size == member.compressed;
    if (!possible)
      fail_data(path, "byte ", position, ": '", member.name, "' promises ", member.size, " bytes from ",
                member.compressed, member.deflated ? " deflated" : " stored");
    members_.push_back(std::move(member));
    i += central_size + name + extra + comment;
  }
  if (i != bytes.size())
    fail_data(path, "byte ", directory.begin + i, ": ", bytes.size() - i,
              " unused bytes in the central directory");
}

std::string ZipFile::read(const ZipMember& member) const {
  std::string bytes = file_.read(member.begin, static_cast<size_t>(member.compressed), "a member");
  if (member.deflated) {
    std::string unpacked(static_cast<size_t>(member.size), '\0');
    z_stream stream{};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) fail("zip", "zlib cannot be initialised");
    size_t in = 0, out = 0;
    int status = Z_OK;
    // zlib counts in 32 bits: feed it piece by piece.
    constexpr size_t piece = size_t{1} << 30;
    while (status == Z_OK) {
      stream.next_in = reinterpret_cast<Bytef*>(bytes.data() + in);
      stream.avail_in = static_cast<uInt>(std::min(piece, bytes.size() - in));
      char spare = 0;  // a place for zlib when the output is full: anything written there is too much
      const bool full = out == unpacked.size();
      stream.next_out = reinterpret_cast<Bytef*>(full ? &spare : unpacked.data() + out);
      stream.avail_out = full ? 1 : static_cast<uInt>(std::min(piece, unpacked.size() - out));
      const uInt given_in = stream.avail_in, given_out = stream.avail_out;
      status = inflate(&stream, Z_NO_FLUSH);
      in += given_in - stream.avail_in;
      const size_t made = given_out - stream.avail_out;
      if (full && made) status = Z_DATA_ERROR;
      if (!full) out += made;
    }
    inflateEnd(&stream);
    if (status != Z_STREAM_END || out != unpacked.size() || in != bytes.size())
      fail_data(path(), "byte ", member.begin + in, ": '", member.name, "' does not inflate to the promised ",
                member.size, " bytes: ", out, " after ", in, " of ", bytes.size());
    bytes = std::move(unpacked);
  }
  const uint32_t crc = static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<z_size_t>(bytes.size())));
  if (crc != member.crc)
    fail_data(path(), "byte ", member.begin, ": the checksum of '", member.name, "' is ", crc, ", expected ",
              member.crc);
  return bytes;
}

namespace {

template <class T>
void put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// What the local header and the directory share, from "version needed" to the lengths.
void put_common(std::string& bytes, uint32_t crc, size_t name, uint16_t extra) {
  put<uint16_t>(bytes, 45);      // ZIP64
  put<uint16_t>(bytes, 0x0800);  // the name is UTF-8
  put<uint16_t>(bytes, stored);
  put<uint16_t>(bytes, 0);       // 00:00:00
  put<uint16_t>(bytes, 0x0021);  // 1 January 1980: equal arrays give equal files
  put<uint32_t>(bytes, crc);
  put<uint32_t>(bytes, 0xffffffffu);
  put<uint32_t>(bytes, 0xffffffffu);
  put<uint16_t>(bytes, static_cast<uint16_t>(name));
  put<uint16_t>(bytes, extra);
}

}  // namespace

void ZipWriter::add(const std::string& name, std::string_view head, std::string_view data) {
  check(name.size() < 65536, "zip", "a member's name of ", name.size(), " bytes is too long");
  const auto crc_of = [](uint32_t crc, std::string_view part) {
    return static_cast<uint32_t>(crc32_z(crc, reinterpret_cast<const Bytef*>(part.data()), part.size()));
  };
  const Entry entry{name, file_.position(), head.size() + data.size(), crc_of(crc_of(0, head), data)};
  std::string header;
  put<uint32_t>(header, local_signature);
  put_common(header, entry.crc, name.size(), 20);
  header += name;
  put<uint16_t>(header, 1);
  put<uint16_t>(header, 16);
  put<uint64_t>(header, entry.size);
  put<uint64_t>(header, entry.size);
  file_.write(header);
  file_.write(head);
  file_.write(data);
  entries_.push_back(entry);
}

void ZipWriter::commit() {
  const uint64_t begin = file_.position();
  for (const Entry& entry : entries_) {
    std::string header;
    put<uint32_t>(header, central_signature);
    put<uint16_t>(header, 0x032d);  // made on Unix
    put_common(header, entry.crc, entry.name.size(), 28);
    put<uint16_t>(header, 0);            // comment
    put<uint16_t>(header, 0);            // disk
    put<uint16_t>(header, 0);            // internal attributes
    put<uint32_t>(header, 0600u << 16);  // permissions
    put<uint32_t>(header, 0xffffffffu);
    header += entry.name;
    put<uint16_t>(header, 1);
    put<uint16_t>(header, 24);
    put<uint64_t>(header, entry.size);
    put<uint64_t>(header, entry.size);
    put<uint64_t>(header, entry.offset);
    file_.write(header);
  }
  const uint64_t end = file_.position();
  std::string tail;
  put<uint32_t>(tail, end64_signature);
  put<uint64_t>(tail, end64_size - 12);
  put<uint16_t>(tail, 0x032d);
  put<uint16_t>(tail, 45);
  put<uint32_t>(tail, 0);
  put<uint32_t>(tail, 0);
  put<uint64_t>(tail, entries_.size());
  put<uint64_t>(tail, entries_.size());
  put<uint64_t>(tail, end - begin);
  put<uint64_t>(tail, begin);
  put<uint32_t>(tail, locator64_signature);
  put<uint32_t>(tail, 0);
  put<uint64_t>(tail, end);
  put<uint32_t>(tail, 1);
  put<uint32_t>(tail, end_signature);
  put<uint16_t>(tail, 0);
  put<uint16_t>(tail, 0);
  const uint16_t count = static_cast<uint16_t>(std::min<size_t>(entries_.size(), 0xffff));
  put<uint16_t>(tail, count);
  put<uint16_t>(tail, count);
  put<uint32_t>(tail, static_cast<uint32_t>(std::min<uint64_t>(end - begin, 0xffffffffu)));
  put<uint32_t>(tail, static_cast<uint32_t>(std::min<uint64_t>(begin, 0xffffffffu)));
  put<uint16_t>(tail, 0);
  file_.write(tail);
  file_.commit();
}

}  // namespace tw
