#include "apps/cli/seeds.h"

#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "tensor/error.h"

namespace tw {

namespace {
uint64_t parse_seed(const std::string& part, const std::string& text) {
  uint64_t seed = 0;
  const char* end = part.data() + part.size();
  const auto [stop, error] = std::from_chars(part.data(), end, seed);
  check(error == std::errc{} && stop == end, "--seeds", "expected numbers and ranges like 0-15,100, got '",
        text, "'");
  return seed;
}
}  // namespace

std::vector<uint64_t> parse_seeds(const std::string& text) {
  constexpr uint64_t most = 10'000'000;
  std::vector<uint64_t> seeds;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, comma - begin);
    const size_t dash = part.find('-');
    const uint64_t first = parse_seed(part.substr(0, dash), text);
    const uint64_t last = dash == std::string::npos ? first : parse_seed(part.substr(dash + 1), text);
    check(first <= last, "--seeds", "the range ", part, " runs backwards");
    check(last - first < most && seeds.size() + (last - first) < most, "--seeds", "'", text,
          "' names more than ", most, " seeds");
    for (uint64_t i = 0; i <= last - first; ++i) seeds.push_back(first + i);
    begin = comma + 1;
  }
  std::unordered_set<uint64_t> seen;
  for (uint64_t seed : seeds) check(seen.insert(seed).second, "--seeds", "seed ", seed, " is given twice");
  return seeds;
}

}  // namespace tw
