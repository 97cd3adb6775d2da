// Progress of a long loop on stderr: a bar with rate, remaining time and memory on a terminal, otherwise
// plain lines now and then, or nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace tw {

class Progress {
 public:
  enum class Style { bar, lines, quiet };
  static Style automatic(bool quiet);  // bar on a terminal, else lines

  // `unit` names one step ("it", "img"); `done` of `total` are done before we begin.
  Progress(int64_t total, std::string unit, Style style, int64_t done = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(int64_t done, const std::string& note = "");  // note: "loss 0.0312"
  void say(const std::string& line);                        // a line of its own above the bar; not when quiet
  void finish();                                            // ends the bar's line

  // " 120/1000 it  3.2 it/s  ETA 4:35  1.2 GiB": what a line holds, for tests.
  static std::string line(int64_t done, int64_t total, const std::string& unit, double rate, double memory);

 private:
  using Clock = std::chrono::steady_clock;
  int64_t total_, begin_, done_;
  std::string unit_, note_;
  Style style_;
  Clock::time_point start_, last_shown_;
  bool bar_open_ = false;
};

std::string human_duration(double seconds);  // "4:35", "2:03:59"

}  // namespace tw
