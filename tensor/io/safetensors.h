// safetensors: named tensors in one file.
//
//   u64 little-endian N | N bytes of JSON: name -> {dtype, shape, data_offsets [b, e)} | data, C order
//
// See docs/file_formats.md for everything that is checked.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tensor/io/input_file.h"
#include "tensor/tensor.h"

namespace tw {

struct SafeTensorsEntry {
  std::string name;
  std::string dtype;  // as in the file: "F32", "BF16", "F8_E4M3", ...
  std::vector<uint64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes from the start of the file
};

// An open file whose header has been read and checked; tensors are read one by one, on demand.
// Every method throws Error{data} naming the file, the byte offset, what was expected and what was found.
class SafeTensorsFile {
 public:
  explicit SafeTensorsFile(const std::string& path);

  const std::vector<SafeTensorsEntry>& entries() const { return entries_; }  // in the order of their data
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  bool contains(const std::string& name) const;
  const SafeTensorsEntry& entry(const std::string& name) const;
  // F32, F64, F16, BF16, I32, I64, U8, and BOOL as u8. Throws for the other dtypes and for more than 6
  // dimensions.
  Tensor load(const std::string& name) const;
  static bool can_load(const SafeTensorsEntry& entry);

 private:
  InputFile file_;
  std::vector<SafeTensorsEntry> entries_;
  std::map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

struct SafeTensors {
  std::map<std::string, Tensor> tensors;  // by name
  std::map<std::string, std::string> metadata;
  std::map<std::string, std::string> skipped;  // name -> dtype of what cannot be loaded, see can_load
  std::string path;

  const Tensor& at(const std::string& name) const;  // throws naming the file, and the dtype if it was skipped
};

SafeTensors load_safetensors(const std::string& path);

// Atomic (see atomic_file.h). Tensors of any strides on the CPU; "format": "pt" is added to the metadata if
// it has no "format", because some readers refuse files without it.
void save_safetensors(const std::string& path, const std::map<std::string, Tensor>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace tw
