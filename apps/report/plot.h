// Line plots, such as a loss curve.
#pragma once

#include <string>
#include <vector>

#include "apps/image/image.h"

namespace tw {

struct Series {
  std::string name;  // in the legend; "" leaves it out
  std::vector<double> x,
      y;  // of one length; points that are not finite (or not positive on a log axis) break the line
  bool faint = false;  // thin and pale: the raw values behind a smoothed curve
  int colour = -1;     // which of the palette; -1: its place among the named series
};

struct PlotOptions {
  std::string title = {}, x_label = {}, y_label = {};
  bool log_x = false, log_y = false;
  int64_t width = 800, height = 480;
};

// Axes with rounded ticks, a grid, a legend above. Throws when a series has x and y of different lengths. A
// plot without any finite point says so in its middle.
Image plot(const std::vector<Series>& series, const PlotOptions& options = {});

// Exponential moving average with the given half-life in points, corrected for its start (as Adam's moments).
// Values that are not finite are passed over.
std::vector<double> smoothed(const std::vector<double>& values, double half_life);

// 1, 2 or 5 times a power of ten apart, within [low, high], about `wanted` of them.
std::vector<double> ticks(double low, double high, int wanted);

}  // namespace tw
