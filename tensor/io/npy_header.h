// The header of an array in NumPy's format: "\x93NUMPY", version, length, and a Python dictionary as text.
#pragma once

#include <string>
#include <string_view>

#include "tensor/io/npy.h"

namespace tw {

// `head` holds the first bytes of the array's file, all of the header if the file has it all.
// Throws Error{data} naming `where` (a path, or path and member) and the byte offset.
NpyHeader parse_npy_header(const std::string& where, std::string_view head);

// A version 1 header, padded so that the data begin at a multiple of 64.
std::string format_npy_header(std::string_view descr, const Shape& shape);

}  // namespace tw
