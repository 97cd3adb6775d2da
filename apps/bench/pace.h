// How many steps are timed: a fixed number, or as many as another program asks for line by line, so that it
// can let several contestants run in turn.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

namespace tw {

// Interactive: once warm it prints {"ready": true}. A line "run SECONDS" on standard input asks for steps
// until they have taken that long (one at least); their durations are printed as {"seconds": [...]}. The end
// of the input ends it.
class Pace {
 public:
  Pace(int64_t warm_up, int64_t repeat, bool interactive)
      : warm_up_(warm_up), repeat_(repeat), interactive_(interactive) {}

  std::function<void()> on_warm;  // called when the warm-up is over

  void start() { last_ = Clock::now(); }
  // To be called after every step; false: enough. The clock stands still while it waits for a line.
  bool step_done();
  bool ended() const { return ended_; }
  const std::vector<double>& seconds() const { return seconds_; }  // of every timed step

 private:
  using Clock = std::chrono::steady_clock;
  bool ask();

  int64_t warm_up_, repeat_, steps_ = 0;
  bool interactive_, ended_ = false;
  double wanted_ = 0, spent_ = 0;
  size_t reported_ = 0;
  std::vector<double> seconds_;
  Clock::time_point last_ = Clock::now();
};

double median(std::vector<double> values);  // 0 for none

}  // namespace tw
