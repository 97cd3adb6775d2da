// Resident memory of this process, as the kernel counts it.
#pragma once

#include <cstddef>
#include <string>

namespace tw {

size_t resident_bytes();       // now; 0 where /proc is not readable
size_t peak_resident_bytes();  // the most it ever was

std::string human_bytes(double bytes);  // "1.4 GiB"

}  // namespace tw
