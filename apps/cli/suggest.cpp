#include "apps/cli/suggest.h"

#include <algorithm>

namespace tw {

int edit_distance(const std::string& a, const std::string& b) {
  const size_t width = b.size() + 1;
  std::vector<int> table((a.size() + 1) * width);
  auto at = [&](size_t i, size_t j) -> int& { return table[i * width + j]; };
  for (size_t i = 0; i <= a.size(); ++i) at(i, 0) = static_cast<int>(i);
  for (size_t j = 0; j <= b.size(); ++j) at(0, j) = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i)
    for (size_t j = 1; j <= b.size(); ++j) {
      const int replaced = at(i - 1, j - 1) + (a[i - 1] != b[j - 1]);
      at(i, j) = std::min({at(i - 1, j) + 1, at(i, j - 1) + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        at(i, j) = std::min(at(i, j), at(i - 2, j - 2) + 1);
    }
  return at(a.size(), b.size());
}

std::string did_you_mean(const std::string& given, const std::vector<std::string>& names) {
  const auto letters = [](const std::string& name) {
    std::string bare = name.substr(std::min(name.find_first_not_of('-'), name.size()));
    std::replace(bare.begin(), bare.end(), '_', '-');
    return bare;
  };
  const std::string wanted = letters(given);
  const std::string* best = nullptr;
  int least = static_cast<int>(std::max<size_t>(2, wanted.size() / 3)) + 1;
  for (const std::string& name : names) {
    const int distance = edit_distance(wanted, letters(name));
    if (distance < least) least = distance, best = &name;
  }
  return best ? "; did you mean " + *best + "?" : "";
}

}  // namespace tw
