#include "tensor/io/npy.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/npy_header.h"
#include "tensor/io/zip.h"

namespace tw {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are written as they lie in memory");

// How an element in a file becomes one of a tensor.
struct Element {
  size_t size;
  DType dtype;
  // Reads `count` little-endian elements and writes them as dtype; null for a plain copy.
  // Returns the index of a value that does not fit, or count.
  size_t (*convert)(const char* from, void* to, size_t count);
};

template <class From, class To>
size_t widen(const char* from, void* to, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, from + i * sizeof value, sizeof value);
    if constexpr (std::is_same_v<From, uint64_t>)
      if (value > INT64_MAX) return i;
    static_cast<To*>(to)[i] = static_cast<To>(value);
  }
  return count;
}

Element element_of(const std::string& where, const std::string& descr) {
  const std::string kind = descr.empty() ? "" : descr.substr(1);
  if (kind == "f2") return {2, DType::f16, nullptr};
  if (kind == "f4") return {4, DType::f32, nullptr};
  if (kind == "f8") return {8, DType::f64, nullptr};
  if (kind == "i4") return {4, DType::i32, nullptr};
  if (kind == "i8") return {8, DType::i64, nullptr};
  if (kind == "u1" || kind == "b1") return {1, DType::u8, nullptr};
  if (kind == "i1") return {1, DType::i32, widen<int8_t, int32_t>};
  if (kind == "i2") return {2, DType::i32, widen<int16_t, int32_t>};
  if (kind == "u2") return {2, DType::i32, widen<uint16_t, int32_t>};
  if (kind == "u4") return {4, DType::i64, widen<uint32_t, int64_t>};
  if (kind == "u8") return {8, DType::i64, widen<uint64_t, int64_t>};
  if (kind.substr(0, 1) == "O")
    fail_data(where, "holds Python objects ('", descr, "'), which are never unpickled");
  fail_data(where, "has elements of type '", descr, "', expected one of f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1");
}

void swap_bytes(std::string& bytes, size_t size) {
  for (size_t i = 0; i + size <= bytes.size(); i += size)
    std::reverse(bytes.begin() + static_cast<long>(i), bytes.begin() + static_cast<long>(i + size));
}

// read(offset, to, count) delivers bytes of the array's file, of `size` bytes in all.
using Read = std::function<void(uint64_t offset, void* to, size_t count)>;

Tensor read_array(const std::string& where, const NpyHeader& header, uint64_t size, const Read& read) {
  const Element element = element_of(where, header.descr);
  const char order = header.descr[0];
  if (!std::strchr("<>|=", order) || (order == '|' && element.size > 1))
    fail_data(where, "has the byte order '", order, "' in '", header.descr, "'");
  uint64_t bytes = element.size, available = size - header.data_begin;
  const bool empty = std::find(header.shape.begin(), header.shape.end(), 0) != header.shape.end();
  if (empty) bytes = 0;
  for (int64_t extent : header.shape)
    if (!empty && __builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes))
      fail_data(where, "has a shape ", header.shape, " of more than 2^64 bytes");
  if (bytes != available)
    fail_data(where, "byte ", header.data_begin, ": expected ", bytes, " bytes for ", header.shape, " '",
              header.descr, "', found ", available);
  // Fortran order is C order with the dimensions reversed.
  Shape stored = header.shape;
  if (header.fortran_order)
    for (int i = 0; i < stored.rank(); ++i) stored[i] = header.shape[stored.rank() - 1 - i];
  Tensor result = Tensor::empty(stored, element.dtype);
  void* to = result.storage()->data();
  const bool swap = order == '>' && element.size > 1;
  if (!swap && !element.convert) {
    read(header.data_begin, to, static_cast<size_t>(bytes));
  } else {
    std::string raw(static_cast<size_t>(bytes), '\0');
    read(header.data_begin, raw.data(), raw.size());
    if (swap) swap_bytes(raw, element.size);
    const size_t count = raw.size() / element.size;
    if (!element.convert) {
      if (count) std::memcpy(to, raw.data(), raw.size());
    } else if (const size_t bad = element.convert(raw.data(), to, count); bad != count) {
      fail_data(where, "byte ", header.data_begin + bad * element.size,
                ": a value above 2^63 - 1 does not fit i64");
    }
  }
  if (!header.fortran_order || stored.rank() < 2) return result;
  Shape strides = header.shape;
  const Shape reversed = contiguous_strides(stored);
  for (int i = 0; i < strides.rank(); ++i) strides[i] = reversed[strides.rank() - 1 - i];
  return Tensor::wrap(result.storage(), element.dtype, header.shape, strides).clone();
}

std::string read_head(const InputFile& file) {
  // As much as the longest header could be, but no more than 1 MiB: headers are a few dozen bytes.
  return file.read(0, static_cast<size_t>(std::min<uint64_t>(file.size(), uint64_t{1} << 20)), "the header");
}

const char* descr_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "<f8";
    case DType::f16:
      return "<f2";
    case DType::i32:
      return "<i4";
    case DType::i64:
      return "<i8";
    case DType::u8:
      return "|u1";
    default:
      return "<f4";
  }
}

struct Packed {
  Tensor tensor;
  std::string header;
  std::string_view data() const { return {static_cast<const char*>(tensor.view().pointer), tensor.nbytes()}; }
};

Packed pack(const Tensor& tensor) {
  check(tensor.defined(), "save_npy", "the tensor is undefined");
  const Tensor packed = (tensor.dtype() == DType::bf16 ? tensor.to(DType::f32) : tensor).contiguous();
  return {packed, format_npy_header(descr_of(packed.dtype()), packed.shape())};
}

}  // namespace

NpyHeader read_npy_header(const std::string& path) {
  const InputFile file(path);
  refuse_download_accidents(file);
  return parse_npy_header(path, read_head(file));
}

Tensor load_npy(const std::string& path) {
  const InputFile file(path);
  refuse_download_accidents(file);
  return read_array(
      path, parse_npy_header(path, read_head(file)), file.size(),
      [&](uint64_t offset, void* to, size_t count) { file.read(offset, to, count, "the array"); });
}

std::map<std::string, Tensor> load_npz(const std::string& path) {
  const ZipFile zip(path);
  std::map<std::string, Tensor> result;
  for (const ZipMember& member : zip.members()) {
    const std::string suffix = ".npy";
    if (member.name.size() < suffix.size() ||
        member.name.substr(member.name.size() - suffix.size()) != suffix)
      fail_data(path, "byte ", member.begin, ": the member '", member.name, "' is not an .npy array");
    const std::string bytes = zip.read(member);
    const std::string where = path + ": " + member.name;
    result[member.name.substr(0, member.name.size() - suffix.size())] = read_array(
        where, parse_npy_header(where, bytes), bytes.size(), [&](uint64_t offset, void* to, size_t count) {
          if (count) std::memcpy(to, bytes.data() + offset, count);
        });
  }
  return result;
}

void save_npy(const std::string& path, const Tensor& tensor) {
  const Packed packed = pack(tensor);
  AtomicFile file(path);
  file.write(packed.header);
  file.write(packed.data());
  file.commit();
}

void save_npz(const std::string& path, const std::map<std::string, Tensor>& tensors) {
  ZipWriter zip(path);
  for (const auto& [name, tensor] : tensors) {
    const Packed packed = pack(tensor);
    zip.add(name + ".npy", packed.header, packed.data());
  }
  zip.commit();
}

}  // namespace tw
