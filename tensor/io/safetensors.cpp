#include "tensor/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <optional>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/safetensors_header.h"
#include "tensor/transfer.h"

namespace tw {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are written as they lie in memory");

constexpr uint64_t largest_header = 100'000'000;

std::optional<DType> dtype_of_name(const std::string& name) {
  if (name == "F32") return DType::f32;
  if (name == "F64") return DType::f64;
  if (name == "BF16") return DType::bf16;
  if (name == "F16") return DType::f16;
  if (name == "I32") return DType::i32;
  if (name == "I64") return DType::i64;
  if (name == "U8" || name == "BOOL") return DType::u8;
  return std::nullopt;
}

const char* name_of_dtype(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::f64:
      return "F64";
    case DType::bf16:
      return "BF16";
    case DType::f16:
      return "F16";
    case DType::i32:
      return "I32";
    case DType::i64:
      return "I64";
    case DType::u8:
      break;
  }
  return "U8";
}

// The bytes that shape and dtype ask for must be those of the offsets.
void check_size(const std::string& path, const SafeTensorsEntry& entry) {
  const uint64_t bits = safetensors_dtype_bits(entry.dtype);
  if (bits == 0) fail_data(path, "'", entry.name, "' has the unknown dtype '", entry.dtype, "'");
  if (entry.begin > entry.end)
    fail_data(path, "'", entry.name, "' ends at offset ", entry.end, ", before its start at ", entry.begin);
  uint64_t product = bits;
  for (uint64_t extent : entry.shape)
    if (__builtin_mul_overflow(product, extent, &product))
      fail_data(path, "'", entry.name, "' has a shape of more than 2^64 bits");
  if (product % 8 != 0)
    fail_data(path, "'", entry.name, "' is not a whole number of bytes: ", product, " bits");
  if (product / 8 != entry.end - entry.begin)
    fail_data(path, "'", entry.name, "' of dtype ", entry.dtype, " needs ", product / 8,
              " bytes by its shape, its data_offsets hold ", entry.end - entry.begin);
}

// In the order of their starts, the ranges must tile the data without hole or overlap, to the last byte of
// the file.
void check_ranges(const std::string& path, const std::vector<SafeTensorsEntry>& entries,
                  uint64_t data_bytes) {
  uint64_t reached = 0;
  for (const SafeTensorsEntry& entry : entries) {
    if (entry.begin != reached)
      fail_data(path, "'", entry.name, "' starts at data offset ", entry.begin, ", expected ", reached,
                ": a ", entry.begin > reached ? "hole" : "overlap");
    reached = entry.end;
  }
  if (reached > data_bytes)
    fail_data(path, "the file is cut off: it holds ", data_bytes, " bytes of data, its header promises ",
              reached);
  if (reached < data_bytes)
    fail_data(path, "the header accounts for ", reached, " bytes of data, but ", data_bytes - reached,
              " more follow");
}

}  // namespace

SafeTensorsFile::SafeTensorsFile(const std::string& path) : file_(path) {
  refuse_download_accidents(file_);
  uint64_t length = 0;
  file_.read(0, &length, 8, "the header's length");
  if (length > largest_header)
    fail_data(path, "byte 0: the header's length is ", length, ", expected at most ", largest_header,
              " (is this a safetensors file?)");
  SafeTensorsHeader header =
      parse_safetensors_header(path, file_.read(8, static_cast<size_t>(length), "the header"));
  entries_ = std::move(header.entries);
  metadata_ = std::move(header.metadata);
  for (const SafeTensorsEntry& entry : entries_) check_size(path, entry);
  std::sort(entries_.begin(), entries_.end(), [](const SafeTensorsEntry& a, const SafeTensorsEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  check_ranges(path, entries_, file_.size() - 8 - length);
  for (size_t i = 0; i < entries_.size(); ++i) {
    entries_[i].begin += 8 + length;
    entries_[i].end += 8 + length;
    index_[entries_[i].name] = i;
  }
}

bool SafeTensorsFile::contains(const std::string& name) const { return index_.count(name) != 0; }

const SafeTensorsEntry& SafeTensorsFile::entry(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end())
    fail_data(file_.path(), "has no tensor '", name, "' among its ", entries_.size());
  return entries_[found->second];
}

bool SafeTensorsFile::can_load(const SafeTensorsEntry& entry) {
  return dtype_of_name(entry.dtype) && entry.shape.size() <= Shape::max_rank;
}

Tensor SafeTensorsFile::load(const std::string& name) const {
  const SafeTensorsEntry& found = entry(name);
  const std::optional<DType> dtype = dtype_of_name(found.dtype);
  if (!dtype)
    fail_data(file_.path(), "'", name, "' has dtype ", found.dtype, ", which cannot be computed with");
  if (found.shape.size() > Shape::max_rank)
    fail_data(file_.path(), "'", name, "' has ", found.shape.size(), " dimensions, at most ", Shape::max_rank,
              " are supported");
  Shape shape;
  for (uint64_t extent : found.shape) {
    if (extent > INT64_MAX) fail_data(file_.path(), "'", name, "' has an extent of ", extent);
    shape.push_back(static_cast<int64_t>(extent));
  }
  Tensor result = Tensor::empty(shape, *dtype);
  file_.read(found.begin, result.storage()->data(), result.nbytes(), "a tensor");
  return result;
}

const Tensor& SafeTensors::at(const std::string& name) const {
  const auto found = tensors.find(name);
  if (found != tensors.end()) return found->second;
  const auto refused = skipped.find(name);
  if (refused != skipped.end())
    fail_data(path, "'", name, "' has dtype ", refused->second, " or a rank that cannot be computed with");
  fail_data(path, "has no tensor '", name, "' among its ", tensors.size());
}

SafeTensors load_safetensors(const std::string& path) {
  const SafeTensorsFile file(path);
  SafeTensors result;
  result.path = path;
  result.metadata = file.metadata();
  for (const SafeTensorsEntry& entry : file.entries()) {
    if (SafeTensorsFile::can_load(entry))
      result.tensors[entry.name] = file.load(entry.name);
    else
      result.skipped[entry.name] = entry.dtype;
  }
  return result;
}

void save_safetensors(const std::string& path, const std::map<std::string, Tensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  // Larger elements first, then by name: every tensor is then aligned to its element size.
  std::vector<std::pair<std::string, Tensor>> ordered;
  for (const auto& [name, tensor] : tensors) {
    check(tensor.defined(), "save_safetensors", "tensor '", name, "' is undefined");
    check(name != "__metadata__", "save_safetensors", "'__metadata__' cannot be the name of a tensor");
    ordered.emplace_back(name, tensor);
  }
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
    return dtype_size(a.second.dtype()) > dtype_size(b.second.dtype());
  });
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata;
  if (!metadata.count("format")) header["__metadata__"]["format"] = "pt";
  uint64_t offset = 0;
  for (const auto& [name, tensor] : ordered) {
    const uint64_t end = offset + tensor.nbytes();
    header[name] = {{"dtype", name_of_dtype(tensor.dtype())},
                    {"shape", std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end())},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& error) {  // a name or value that is not UTF-8
    fail("save_safetensors", error.what());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  check(text.size() <= largest_header, "save_safetensors", "the header would have ", text.size(), " bytes");
  AtomicFile file(path);
  const uint64_t length = text.size();
  file.write(&length, 8);
  file.write(text);
  for (const auto& [name, tensor] : ordered) {
    const Tensor packed = to_device(tensor.contiguous(), Device::cpu);
    file.write(packed.view().pointer, packed.nbytes());
  }
  file.commit();
}

}  // namespace tw
