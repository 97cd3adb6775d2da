#include "apps/bench/pace.h"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "tensor/error.h"

namespace tw {

bool Pace::step_done() {
  const auto now = Clock::now();
  if (++steps_ > warm_up_) {
    seconds_.push_back(std::chrono::duration<double>(now - last_).count());
    spent_ += seconds_.back();
  }
  if (steps_ == warm_up_) {
    if (on_warm) on_warm();
    if (interactive_) std::cout << nlohmann::json{{"ready", true}}.dump() << std::endl;
  }
  if (steps_ >= warm_up_) ended_ = interactive_ ? spent_ >= wanted_ && !ask() : steps_ >= warm_up_ + repeat_;
  last_ = Clock::now();
  return !ended_;
}

// Reports the steps of the last request and waits for the next; false at the end of the input.
bool Pace::ask() {
  if (reported_ < seconds_.size()) {
    const std::vector<double> new_ones(seconds_.begin() + static_cast<std::ptrdiff_t>(reported_),
                                       seconds_.end());
    std::cout << nlohmann::json{{"seconds", new_ones}}.dump() << std::endl;
    reported_ = seconds_.size();
  }
  std::string line;
  if (!std::getline(std::cin, line)) return false;
  char* end = nullptr;
  wanted_ = line.starts_with("run ") ? std::strtod(line.c_str() + 4, &end) : -1;
  check(wanted_ >= 0 && end && *end == '\0', "--interactive", "expected 'run SECONDS', found '", line, "'");
  spent_ = 0;
  wanted_ = std::max(wanted_, 1e-9);
  return true;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace tw
