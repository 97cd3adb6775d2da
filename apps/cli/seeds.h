// Lists of seeds: "0-15,100" is the seeds 0 to 15 and 100.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tw {

// In the order given; throws Error{usage} for anything but numbers and rising ranges, for a seed given twice
// (its image would be drawn twice under one name), and for more than ten million seeds.
std::vector<uint64_t> parse_seeds(const std::string& text);

}  // namespace tw
