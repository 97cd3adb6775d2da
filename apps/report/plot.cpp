#include "apps/report/plot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "apps/report/canvas.h"
#include "tensor/error.h"

namespace tw {
namespace {

constexpr Rgb paper{255, 255, 255}, ink{60, 64, 72}, rule{228, 230, 235};
// Distinct in hue and in lightness (Okabe and Ito's palette, darkened for thin lines).
constexpr Rgb palette[] = {{0, 100, 170},  {205, 85, 0},  {0, 140, 105},
                           {190, 90, 150}, {150, 120, 0}, {70, 160, 215}};

struct Axis {
  double low, high;
  bool logarithmic;
  double place(double value) const {  // 0 .. 1
    const double v = logarithmic ? std::log10(value) : value;
    return (v - low) / (high - low);
  }
  bool accepts(double value) const { return std::isfinite(value) && (!logarithmic || value > 0); }
};

// The range of the accepted values with some room; false when there are none.
bool range_of(const std::vector<Series>& series, bool of_x, Axis& axis, const Axis* other) {
  axis.low = INFINITY;
  axis.high = -INFINITY;
  for (const Series& s : series)
    for (size_t i = 0; i < s.x.size(); ++i) {
      const double value = of_x ? s.x[i] : s.y[i];
      if (!axis.accepts(value) || (other && !other->accepts(of_x ? s.y[i] : s.x[i]))) continue;
      const double v = axis.logarithmic ? std::log10(value) : value;
      axis.low = std::min(axis.low, v);
      axis.high = std::max(axis.high, v);
    }
  if (axis.low > axis.high) return false;
  if (axis.low == axis.high) {
    const double room = axis.low == 0 ? 1 : std::abs(axis.low) * 0.1;
    axis.low -= room;
    axis.high += room;
  } else if (!of_x) {
    const double room = 0.05 * (axis.high - axis.low);
    axis.low -= room;
    axis.high += room;
  }
  return true;
}

std::string number(double value) {
  char text[32];
  if (value != 0 && std::abs(value) >= 1e4 && std::abs(value) < 1e9 && std::fmod(value, 1000) == 0)
    std::snprintf(text, sizeof text, value < 1e6 || std::fmod(value, 1e5) != 0 ? "%gk" : "%gM",
                  value / (value < 1e6 || std::fmod(value, 1e5) != 0 ? 1e3 : 1e6));
  else
    std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

// Ticks of an axis as values: on a logarithmic one 1, 2 and 5 times powers of ten, or the powers alone.
std::vector<double> ticks_of(const Axis& axis, int wanted) {
  if (!axis.logarithmic) return ticks(axis.low, axis.high, wanted);
  if (axis.high - axis.low < 0.7) return ticks(std::pow(10, axis.low), std::pow(10, axis.high), wanted);
  std::vector<double> result;
  const bool fine = axis.high - axis.low < 3;
  for (double power = std::floor(axis.low); power <= axis.high; ++power)
    for (double factor : {1.0, 2.0, 5.0})
      if ((fine || factor == 1) && power + std::log10(factor) >= axis.low &&
          power + std::log10(factor) <= axis.high)
        result.push_back(factor * std::pow(10, power));
  return result;
}

Rgb colour_of(const std::vector<Series>& series, size_t i) {
  int index = series[i].colour;
  if (index < 0) {
    index = 0;
    for (size_t k = 0; k < i; ++k) index += !series[k].name.empty();
  }
  return palette[static_cast<size_t>(index) % std::size(palette)];
}

}  // namespace

std::vector<double> ticks(double low, double high, int wanted) {
  if (!(high > low)) return {low};
  const double rough = (high - low) / std::max(wanted, 1),
               power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (double factor : {1.0, 2.0, 5.0})
    if (factor * power >= rough * 0.999) {
      step = factor * power;
      break;
    }
  std::vector<double> result;
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; ++k)
    result.push_back(k * step + 0.0);
  return result;
}

std::vector<double> smoothed(const std::vector<double>& values, double half_life) {
  const double keep = std::pow(0.5, 1 / half_life);
  double mean = 0, weight = 0;
  std::vector<double> result;
  for (double value : values) {
    if (std::isfinite(value)) {
      mean = keep * mean + (1 - keep) * value;
      weight = keep * weight + (1 - keep);
    }
    result.push_back(weight > 0 ? mean / weight : NAN);
  }
  return result;
}

Image plot(const std::vector<Series>& series, const PlotOptions& options) {
  for (const Series& s : series)
    check(s.x.size() == s.y.size(), "plot", "series '", s.name, "' has ", s.x.size(), " x and ", s.y.size(),
          " y");
  Canvas canvas(options.height, options.width, paper);
  const double size = 16, right = static_cast<double>(options.width) - 28;
  double top = 26;
  if (!options.title.empty()) {
    canvas.text(24, 36, options.title, 20, ink);
    top += 30;
  }
  Axis x{0, 1, options.log_x}, y{0, 1, options.log_y};
  const bool some = range_of(series, true, x, &y) && range_of(series, false, y, &x);
  if (!some) {
    canvas.text(static_cast<double>(options.width) / 2, static_cast<double>(options.height) / 2,
                "no data yet", 20, ink, Anchor::centre);
    return canvas.image();
  }
  double legend = 24;
  bool any_legend = false;
  for (size_t i = 0; i < series.size(); ++i) {
    if (series[i].name.empty()) continue;
    any_legend = true;
    canvas.line(legend, top + 5, legend + 24, top + 5, series[i].faint ? 1.5 : 3, colour_of(series, i),
                series[i].faint ? 0.5 : 1);
    canvas.text(legend + 32, top + 10, series[i].name, size, ink);
    legend += 32 + canvas.text_width(series[i].name, size) + 26;
  }
  if (any_legend) top += 30;
  if (!options.y_label.empty()) {
    canvas.text(24, top + 8, options.y_label, size, ink);
    top += 24;
  }
  const double bottom = static_cast<double>(options.height) - (options.x_label.empty() ? 44 : 66);
  const std::vector<double> y_ticks = ticks_of(y, static_cast<int>((bottom - top) / 60) + 1);
  double left = 40;
  for (double value : y_ticks) left = std::max(left, 34 + canvas.text_width(number(value), size));
  const auto at_x = [&](double value) { return left + x.place(value) * (right - left); };
  const auto at_y = [&](double value) { return bottom - y.place(value) * (bottom - top); };

  for (double value : y_ticks) {
    canvas.line(left, at_y(value), right, at_y(value), 1, rule);
    canvas.text(left - 10, at_y(value) + 5, number(value), size, ink, Anchor::right);
  }
  for (double value : ticks_of(x, static_cast<int>((right - left) / 110) + 1)) {
    canvas.line(at_x(value), bottom, at_x(value), bottom + 5, 1, ink);
    canvas.text(at_x(value), bottom + 23, number(value), size, ink, Anchor::centre);
  }
  canvas.line(left, bottom, right, bottom, 1.2, ink);
  canvas.text((left + right) / 2, bottom + 50, options.x_label, size, ink, Anchor::centre);

  for (size_t i = 0; i < series.size(); ++i) {
    const Series& s = series[i];
    const double width = s.faint ? 1 : 2.2, opacity = s.faint ? 0.3 : 1;
    bool connected = false;
    for (size_t k = 0; k < s.x.size(); ++k) {
      const bool usable = x.accepts(s.x[k]) && y.accepts(s.y[k]);
      const bool next = usable && k + 1 < s.x.size() && x.accepts(s.x[k + 1]) && y.accepts(s.y[k + 1]);
      if (next)
        canvas.line(at_x(s.x[k]), at_y(s.y[k]), at_x(s.x[k + 1]), at_y(s.y[k + 1]), width,
                    colour_of(series, i), opacity);
      else if (usable && !connected)  // a point alone
        canvas.line(at_x(s.x[k]), at_y(s.y[k]), at_x(s.x[k]), at_y(s.y[k]), 2 * width, colour_of(series, i),
                    opacity);
      connected = next;
    }
  }
  return canvas.image();
}

}  // namespace tw
