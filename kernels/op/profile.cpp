#include "kernels/op/profile.h"

#include <algorithm>
#include <sstream>

namespace tw::kernels {
namespace {

constexpr size_t most_unsettled = 8192;  // calls on a device whose events are not read yet

// Weights that were given back once they were packed have a shape and no pointer; they count.
bool is_there(const View& view) { return view.pointer || view.rank() > 0; }

const View* first_of(std::span<const View* const> arguments) {
  for (const View* view : arguments)
    if (is_there(*view)) return view;
  return nullptr;
}

Device device_of(std::span<const View* const> arguments) {
  for (const View* view : arguments)
    if (view->pointer && view->device == Device::cuda) return Device::cuda;
  return Device::cpu;
}

// Two shapes say which case of an op it is: the input and the weight, or the input alone where all are alike.
std::string shapes_of(std::span<const View* const> arguments) {
  const View* const first = first_of(arguments);
  if (!first) return "";
  std::ostringstream text;
  text << first->shape;
  for (const View* view : arguments)
    if (is_there(*view) && view->shape != first->shape) {
      text << ' ' << view->shape;
      break;
    }
  text << ' ' << dtype_name(first->dtype);
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
  rows_.clear(), events_.clear(), places_.clear(), row_of_.clear(), place_of_.clear(), unsettled_.clear();
  device_start_ = {};
  start_ = Clock::now();
}

void Profile::add(const Call& call) {
  std::string shapes = shapes_of(call.arguments);
  const auto [found, is_new] = row_of_.try_emplace(std::string(call.op) + '|' + call.method + '|' + shapes,
                                                   static_cast<uint32_t>(rows_.size()));
  if (is_new) {
    const View* const first = first_of(call.arguments);
    rows_.push_back({call.op, call.method, std::move(shapes), first ? first->dtype : DType::f32,
                     device_of(call.arguments)});
  }
  Row& row = rows_[found->second];
  const bool on_host = row.device == Device::cpu;
  const double seconds = on_host ? std::chrono::duration<double>(call.end - call.begin).count() : 0;
  ++row.count;
  row.seconds += seconds;
  row.flops += call.flops;
  row.bytes += bytes_of(call.arguments);

  const double begin = std::chrono::duration<double>(call.begin - start_).count();
  if (call.device_begin && call.device_end) {
    if (!device_start_) {
      device_start_ = call.device_begin;
      device_start_seconds_ = begin;
    }
    unsettled_.push_back({found->second, events_.size(), call.device_begin, call.device_end});
  }
  if (events_.size() < most_events_) {
    std::string place = place_ ? place_() : "";
    const auto [at, first_time] = place_of_.try_emplace(place, static_cast<uint32_t>(places_.size()));
    if (first_time) places_.push_back(std::move(place));
    events_.push_back({found->second, at->second, begin, seconds});
  }
  if (unsettled_.size() >= most_unsettled) settle();
}

void Profile::settle() {
  for (const Unsettled& call : unsettled_) {
    const double seconds = call.end.seconds_since(call.begin);
    rows_[call.row].seconds += seconds;
    if (call.event >= events_.size()) continue;
    Event& event = events_[call.event];
    event.begin = device_start_seconds_ + call.begin.seconds_since(device_start_);
    event.seconds = seconds;
  }
  unsettled_.clear();
}

ProfileScope::~ProfileScope() {
  Profile::current_ = outer_;
  try {
    profile_.settle();
  } catch (const std::exception&) {  // the device has failed, which the next op on it says
  }
}

void OpTimer::begin(const char* op, double flops, std::span<const View* const> arguments) {
  op_ = op, flops_ = flops, count_ = arguments.size();
  std::copy(arguments.begin(), arguments.end(), arguments_);
  if (device_of(arguments) == Device::cuda) device_begin_ = CudaEvent::record();
  Profile::current_ = nullptr;
  begin_ = Profile::Clock::now();
}

void OpTimer::end() {
  const auto now = Profile::Clock::now();
  Profile::current_ = profile_;
  CudaEvent device_end;
  try {
    if (device_begin_) device_end = CudaEvent::record();
    profile_->add({op_, method_, flops_, {arguments_, count_}, begin_, now, device_begin_, device_end});
  } catch (const std::exception&) {  // the device has failed, which the next op on it says
  }
}

}  // namespace tw::kernels
