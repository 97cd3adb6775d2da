// "Did you mean": the known name nearest to a mistyped one.
#pragma once

#include <string>
#include <vector>

namespace tw {

// The number of insertions, deletions, replacements and swaps of neighbours that turn a into b (optimal
// string alignment).
int edit_distance(const std::string& a, const std::string& b);

// "; did you mean --steps?" for the nearest name, or "" when none is near (more than a third of the letters
// differ).
std::string did_you_mean(const std::string& given, const std::vector<std::string>& names);

}  // namespace tw
