#include "apps/report/profile_report.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/op/device_rates.h"

namespace tw {
namespace {

using Row = kernels::Profile::Row;

[[gnu::format(printf, 1, 2)]] std::string format(const char* text, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, text);
  std::vsnprintf(line, sizeof line, text, arguments);
  va_end(arguments);
  return line;
}

std::string name_of(const Row& row) {
  return *row.method ? std::string(row.op) + " [" + row.method + "]" : row.op;
}

// Of one call.
double least_seconds(const Row& row, const ProfileRates& rates) {
  const auto count = static_cast<double>(row.count);
  return rates.of(row.device).least_seconds(row.flops / count, row.bytes / count, row.dtype);
}

std::string rates_in_words(const kernels::MachineRates& rates) {
  std::string text =
      rates.threads > 0 ? format("%d threads; peak", rates.threads) : "the CUDA device; products";
  text += format(" %.0f GFLOP/s (f32)", rates.flops * 1e-9);
  if (rates.flops_16bit > 0) text += format(", %.0f (bf16)", rates.flops_16bit * 1e-9);
  text += "; copies";
  const char* between = " ";
  for (const auto& level : rates.levels) {
    text += format("%s%.0f GB/s", between, level.bytes_per_second * 1e-9);
    if (rates.threads > 0) text += format(" (%.0f KiB a thread)", level.bytes_per_thread / 1024);
    between = ", ";
  }
  return text;
}

struct Line {
  std::string name, shapes;
  int64_t calls = 0;
  double seconds = 0, flops = 0, bytes = 0;
  double least = 0;  // seconds that the roofline allows

  void add(const Row& row, const ProfileRates& rates) {
    const auto count = static_cast<double>(row.count);
    calls += row.count, seconds += row.seconds, flops += row.flops, bytes += row.bytes;
    least += count * least_seconds(row, rates);
  }

  std::string text(double wall) const {
    const auto rate = [&](double amount, int width) {
      return amount > 0 ? format("%*.1f", width, amount / seconds * 1e-9)
                        : std::string(static_cast<size_t>(width), ' ');
    };
    return format("%-38s %7lld %10.2f %6.1f %9.1f %s %s %6.0f", name.c_str(), static_cast<long long>(calls),
                  seconds * 1e3, 100 * seconds / wall,
                  calls ? seconds / static_cast<double>(calls) * 1e6 : 0.0, rate(flops, 8).c_str(),
                  rate(bytes, 7).c_str(), seconds > 0 ? 100 * least / seconds : 0.0) +
           (shapes.empty() ? "" : "  " + shapes) + "\n";
  }
};

std::string longest_first(std::vector<Line> lines, double wall) {
  std::stable_sort(lines.begin(), lines.end(),
                   [](const Line& a, const Line& b) { return a.seconds > b.seconds; });
  std::string text;
  for (const Line& line : lines) text += line.text(wall);
  return text;
}

}  // namespace

ProfileRates measure_rates(const kernels::Profile& profile) {
  ProfileRates rates{kernels::measure_machine_rates(), std::nullopt};
  for (const Row& row : profile.rows())
    if (row.device == Device::cuda && !rates.cuda) rates.cuda = kernels::measure_device_rates();
  return rates;
}

std::string profile_table(const kernels::Profile& profile, double seconds, const ProfileRates& rates) {
  std::map<std::string, Line> by_name;
  std::vector<Line> by_shape;
  Line all{"all ops", ""};
  for (const Row& row : profile.rows()) {
    const std::string name = name_of(row);
    by_name.try_emplace(name, Line{name, ""}).first->second.add(row, rates);
    by_shape.push_back({name, row.shapes});
    by_shape.back().add(row, rates);
    all.add(row, rates);
  }
  std::vector<Line> by_op;
  for (const auto& [name, line] : by_name) by_op.push_back(line);

  std::string text = format("profile of %.3f s on ", seconds) + rates_in_words(rates.cpu);
  if (rates.cuda) text += "; " + rates_in_words(*rates.cuda);
  text += format("\n%-38s %7s %10s %6s %9s %8s %7s %6s\n", "op", "calls", "ms", "% time", "us a call",
                 "GFLOP/s", "GB/s", "% roof");
  text += longest_first(std::move(by_op), seconds) + all.text(seconds);
  const double between = std::max(0.0, seconds - all.seconds);
  text += format("%-38s %7s %10.2f %6.1f %9.1f\nby shape\n", "between ops", "", between * 1e3,
                 100 * between / seconds, all.calls ? between / static_cast<double>(all.calls) * 1e6 : 0.0);
  return text + longest_first(std::move(by_shape), seconds);
}

std::string chrome_trace(const kernels::Profile& profile, const ProfileRates& rates) {
  nlohmann::ordered_json events = nlohmann::ordered_json::array();
  for (const auto& event : profile.events()) {
    const Row& row = profile.rows()[event.row];
    const auto calls = static_cast<double>(row.count);
    nlohmann::ordered_json arguments{{"shapes", row.shapes}};
    if (const std::string& place = profile.places()[event.place]; !place.empty()) arguments["place"] = place;
    if (event.seconds > 0) {
      arguments["GFLOP/s"] = row.flops / calls / event.seconds * 1e-9;
      arguments["GB/s"] = row.bytes / calls / event.seconds * 1e-9;
      arguments["% of roofline"] = 100 * least_seconds(row, rates) / event.seconds;
    }
    events.push_back({{"name", name_of(row)},
                      {"ph", "X"},
                      {"pid", 1},
                      {"tid", row.device == Device::cuda ? 2 : 1},
                      {"ts", event.begin * 1e6},
                      {"dur", event.seconds * 1e6},
                      {"args", arguments}});
  }
  return nlohmann::ordered_json{{"displayTimeUnit", "ms"}, {"traceEvents", events}}.dump() + "\n";
}

}  // namespace tw
