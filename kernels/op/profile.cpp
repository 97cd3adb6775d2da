#include "kernels/op/profile.h"

#include <algorithm>
#include <sstream>

namespace tw::kernels {
namespace {

// Weights that were given back once they were packed have a shape and no pointer; they count.
bool is_there(const View& view) { return view.pointer || view.rank() > 0; }

// Two shapes say which case of an op it is: the input and the weight, or the input alone where all are alike.
std::string shapes_of(std::span<const View* const> arguments) {
  std::ostringstream text;
  const View* first = nullptr;
  for (const View* view : arguments) {
    if (!is_there(*view)) continue;
    if (!first) {
      text << view->shape;
      first = view;
    } else if (view->shape != first->shape) {
      text << ' ' << view->shape;
      break;
    }
  }
  if (first) text << ' ' << dtype_name(first->dtype);
  return text.str();
}

double bytes_of(std::span<const View* const> arguments) {
  double bytes = 0;
  for (const View* view : arguments)
    if (is_there(*view))
      bytes += static_cast<double>(view->numel()) * static_cast<double>(dtype_size(view->dtype));
  return bytes;
}

}  // namespace

constinit thread_local Profile* Profile::current_ = nullptr;

Profile::Profile(std::string (*place)(), size_t most_events) : place_(place), most_events_(most_events) {}

double Profile::seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

void Profile::restart() {
  rows_.clear(), events_.clear(), places_.clear(), row_of_.clear(), place_of_.clear();
  start_ = Clock::now();
}

void Profile::add(const char* op, const char* method, double flops, std::span<const View* const> arguments,
                  Clock::time_point begin, Clock::time_point end) {
  std::string shapes = shapes_of(arguments);
  const auto [found, is_new] =
      row_of_.try_emplace(std::string(op) + '|' + method + '|' + shapes, static_cast<uint32_t>(rows_.size()));
  if (is_new) rows_.push_back({op, method, std::move(shapes)});
  Row& row = rows_[found->second];
  const double seconds = std::chrono::duration<double>(end - begin).count();
  ++row.count;
  row.seconds += seconds;
  row.flops += flops;
  row.bytes += bytes_of(arguments);

  if (events_.size() >= most_events_) return;
  std::string place = place_ ? place_() : "";
  const auto [at, first_time] = place_of_.try_emplace(place, static_cast<uint32_t>(places_.size()));
  if (first_time) places_.push_back(std::move(place));
  events_.push_back(
      {found->second, at->second, std::chrono::duration<double>(begin - start_).count(), seconds});
}

void OpTimer::begin(const char* op, double flops, std::span<const View* const> arguments) {
  op_ = op, flops_ = flops, count_ = arguments.size();
  std::copy(arguments.begin(), arguments.end(), arguments_);
  Profile::current_ = nullptr;
  begin_ = Profile::Clock::now();
}

void OpTimer::end() {
  const auto now = Profile::Clock::now();
  profile_->add(op_, method_, flops_, {arguments_, count_}, begin_, now);
  Profile::current_ = profile_;
}

}  // namespace tw::kernels
