// The bytes of a whole file.
#pragma once

#include <string>

namespace tw {

std::string file_bytes(
    const std::string& path);  // throws Error{data} naming the path and the system's reason

}  // namespace tw
