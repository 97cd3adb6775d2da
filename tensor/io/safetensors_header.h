// The JSON header of a safetensors file.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/io/safetensors.h"

namespace tw {

struct SafeTensorsHeader {
  std::vector<SafeTensorsEntry> entries;  // offsets relative to the data, in the order of the header
  std::map<std::string, std::string> metadata;
};

// Throws Error{data} naming `path` and the byte in the file (the header starts at byte 8).
SafeTensorsHeader parse_safetensors_header(const std::string& path, std::string_view json);

// Bits of an element, 0 for an unknown dtype.
uint64_t safetensors_dtype_bits(std::string_view dtype);

}  // namespace tw
