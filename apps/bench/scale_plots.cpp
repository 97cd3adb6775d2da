#include "apps/bench/scale_plots.h"

#include <algorithm>
#include <functional>
#include <map>

#include "apps/image/png.h"
#include "apps/report/plot.h"
#include "apps/sampling/diffusion_model.h"

namespace tw {
namespace {

using Json = nlohmann::ordered_json;

struct Point {
  std::string curve;
  double batch, resolution, milliseconds, mebibytes;
};

std::vector<Point> points_of(const std::string& file) {
  static const std::map<std::string, std::string> names{
      {"sample", "sampling"}, {"dps", "guided sampling"}, {"train", "training"}};
  std::vector<Point> points;
  for (const Json& row : read_json(file)) {
    const int threads = row.at("threads").get<int>();
    points.push_back({names.at(row.at("mode").get<std::string>()) + (threads == 1 ? ", 1 thread" : ""),
                      row.at("batch").get<double>(), row.at("resolution").get<double>(),
                      row.at("seconds_per_image").get<double>() * 1e3,
                      row.at("peak_rss_bytes").get<double>() / (1 << 20)});
  }
  return points;
}

// One curve a name, in the order in which the names come up, each sorted by x.
std::vector<Series> curves(const std::vector<Point>& points, double Point::*x, double Point::*y,
                           const std::function<bool(const Point&)>& wanted) {
  std::vector<std::string> names;
  std::map<std::string, std::vector<std::pair<double, double>>> found;
  for (const Point& point : points) {
    if (!wanted(point)) continue;
    if (!found.count(point.curve)) names.push_back(point.curve);
    found[point.curve].push_back({point.*x, point.*y});
  }
  std::vector<Series> result;
  for (const std::string& name : names) {
    std::sort(found[name].begin(), found[name].end());
    Series series;
    series.name = name;
    for (const auto& [at, value] : found[name]) series.x.push_back(at), series.y.push_back(value);
    result.push_back(std::move(series));
  }
  return result;
}

}  // namespace

void plot_scale(const std::string& file, const std::filesystem::path& folder) {
  const std::vector<Point> points = points_of(file);
  double smallest = 1e9;
  for (const Point& point : points) smallest = std::min(smallest, point.resolution);
  const auto of_smallest = [&](const Point& point) { return point.resolution == smallest; };
  const auto single = [](const Point& point) { return point.batch == 1; };
  const auto draw = [&](const char* name, double Point::*x, double Point::*y, const auto& wanted,
                        const char* x_label, const char* y_label) {
    write_png((folder / name).string(),
              plot(curves(points, x, y, wanted),
                   {.x_label = x_label, .y_label = y_label, .log_x = true, .log_y = true, .height = 400}));
  };
  draw("scale-time-batch.png", &Point::batch, &Point::milliseconds, of_smallest, "batch", "ms an image");
  draw("scale-memory-batch.png", &Point::batch, &Point::mebibytes, of_smallest, "batch",
       "peak resident memory, MiB");
  draw("scale-time-resolution.png", &Point::resolution, &Point::milliseconds, single, "height and width",
       "ms an image");
  draw("scale-memory-resolution.png", &Point::resolution, &Point::mebibytes, single, "height and width",
       "peak resident memory, MiB");
}

}  // namespace tw
