#include "apps/cli/progress.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "apps/cli/memory.h"

namespace tw {

std::string human_duration(double seconds) {
  if (!(seconds >= 0) || seconds > 1e8) return "?";
  const auto whole = static_cast<long long>(std::llround(seconds));
  char text[48];
  if (whole >= 3600)
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
  else
    std::snprintf(text, sizeof text, "%lld:%02lld", whole / 60, whole % 60);
  return text;
}

Progress::Style Progress::automatic(bool quiet) {
  if (quiet) return Style::quiet;
  const char* terminal = std::getenv("TERM");
  const bool dumb = terminal && std::string(terminal) == "dumb";
  return isatty(STDERR_FILENO) && !dumb ? Style::bar : Style::lines;
}

Progress::Progress(int64_t total, std::string unit, Style style, int64_t done)
    : total_(total), begin_(done), done_(done), unit_(std::move(unit)), style_(style), start_(Clock::now()) {}

Progress::~Progress() { finish(); }

std::string Progress::line(int64_t done, int64_t total, const std::string& unit, double rate, double memory) {
  char text[160];
  const bool slow = rate > 0 && rate < 1;
  const double remaining = rate > 0 ? static_cast<double>(total - done) / rate : -1;
  std::snprintf(text, sizeof text, "%lld/%lld %s  %.2f %s  ETA %s  %s", static_cast<long long>(done),
                static_cast<long long>(total), unit.c_str(), slow ? 1 / rate : rate,
                (slow ? "s/" + unit : unit + "/s").c_str(), human_duration(remaining).c_str(),
                human_bytes(memory).c_str());
  return text;
}

void Progress::update(int64_t done, const std::string& note) {
  done_ = done;
  note_ = note;
  if (style_ == Style::quiet) return;
  const auto now = Clock::now();
  const double pause = style_ == Style::bar ? 0.1 : 10.0;
  const bool first = last_shown_ == Clock::time_point{};
  if (!first && done < total_ && std::chrono::duration<double>(now - last_shown_).count() < pause) return;
  last_shown_ = now;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double rate = elapsed > 0 ? static_cast<double>(done - begin_) / elapsed : 0;
  const std::string text = line(done, total_, unit_, rate, static_cast<double>(resident_bytes())) +
                           (note.empty() ? "" : "  " + note);
  if (style_ == Style::lines) {
    std::cerr << text << std::endl;
    return;
  }
  constexpr int64_t width = 24;
  const int64_t filled = total_ > 0 ? width * done / total_ : width;
  std::string bar = "[";
  for (int64_t i = 0; i < width; ++i) bar += i < filled ? '#' : '.';
  std::cerr << "\r\033[K" << bar << "] " << text << std::flush;
  bar_open_ = true;
}

void Progress::say(const std::string& line) {
  if (style_ == Style::quiet) return;
  std::cerr << (bar_open_ ? "\r\033[K" : "") << line << std::endl;
  bar_open_ = false;
  if (style_ == Style::bar) last_shown_ = {};
}

void Progress::finish() {
  if (bar_open_) std::cerr << std::endl;
  bar_open_ = false;
}

}  // namespace tw
