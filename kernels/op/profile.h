// Where the time goes: what each op took, and how much it computed and moved.
//
//   Profile profile;
//   { const ProfileScope scope(profile); network(x); }   // the ops that this thread calls are recorded
//
// and one line opens every entry point of kernels/op/:
//   OpTimer timer("conv2d_forward", [&] { return conv2d_flops(params, x.shape, w.shape); }, x, w, y);
// An op that calls another is one op: the inner one finds no profile. Without a scope the line costs a load
// and a branch (0.55 ns); with one, 0.6 us an op, which counts as time between ops. An op on a CUDA device is
// timed there, between two events of its queue, which are read when the scope ends.
#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "tensor/cuda_event.h"
#include "tensor/view.h"

namespace tw::kernels {

class Profile {
 public:
  using Clock = std::chrono::steady_clock;

  // All calls of one op with the same shapes. `bytes` counts each argument once: the least it must move.
  struct Row {
    const char* op;
    const char* method;  // the implementation that ran; "" where there is one
    std::string shapes;  // of the first two arguments, "(1, 32, 32, 128) (3, 3, 128, 128) f32"
    DType dtype;         // of the first argument
    Device device;
    int64_t count = 0;
    double seconds = 0, flops = 0, bytes = 0;  // of all calls together
  };
  struct Event {
    uint32_t row, place;    // indices into rows() and places()
    double begin, seconds;  // begin counts from the start of the profile
  };

  // `place`, if given, names what an op belongs to, e.g. "down.0/conv1"; it is called once an op. Rows count
  // every call; of the single events the first `most_events` are kept.
  explicit Profile(std::string (*place)() = nullptr, size_t most_events = 1'000'000);

  const std::vector<Row>& rows() const { return rows_; }
  const std::vector<Event>& events() const { return events_; }
  const std::vector<std::string>& places() const { return places_; }
  double seconds() const;  // since the start, time between ops included
  void restart();          // forgets all, e.g. the warm-up
  void settle();           // waits for the ops on a device, and adds their times

  static Profile* current() { return current_; }  // of this thread; null: nothing is recorded

 private:
  friend class ProfileScope;
  friend class OpTimer;
  struct Call {
    const char *op, *method;
    double flops;
    std::span<const View* const> arguments;
    Clock::time_point begin, end;
    CudaEvent device_begin, device_end;  // of an op on a device, unless it was captured
  };
  struct Unsettled {
    uint32_t row;
    size_t event;  // an index into events_, or beyond
    CudaEvent begin, end;
  };
  void add(const Call& call);

  static constinit thread_local Profile* current_;
  std::string (*place_)();
  size_t most_events_;
  Clock::time_point start_ = Clock::now();
  std::vector<Row> rows_;
  std::vector<Event> events_;
  std::vector<std::string> places_;
  std::vector<Unsettled> unsettled_;
  CudaEvent device_start_;  // the first event, and when it was queued
  double device_start_seconds_ = 0;
  std::unordered_map<std::string, uint32_t> row_of_, place_of_;
};

// The ops that this thread calls in the scope go to `profile`; scopes nest, the innermost counts.
class ProfileScope {
 public:
  explicit ProfileScope(Profile& profile) : profile_(profile), outer_(Profile::current_) {
    Profile::current_ = &profile;
  }
  ~ProfileScope();
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  Profile& profile_;
  Profile* outer_;
};

// Times the scope of an op. `flops` is called only when something is recorded; absent arguments (null views)
// are no bytes. The arguments must outlive the timer, so they are no temporaries.
class OpTimer {
  static constexpr size_t most_arguments = 8;

 public:
  template <std::invocable Flops, class... Arguments>
  requires(sizeof...(Arguments) <= most_arguments)
      OpTimer(const char* op, Flops&& flops, const Arguments&... arguments)
      : profile_(Profile::current_) {
    if (profile_) [[unlikely]]
      begin(op, flops(), std::array<const View*, sizeof...(arguments)>{&arguments...});
  }
  template <class... Arguments>
  requires((std::same_as<Arguments, View> && ...) &&
           sizeof...(Arguments) <= most_arguments) explicit OpTimer(const char* op,
                                                                    const Arguments&... arguments)
      : profile_(Profile::current_) {
    if (profile_) [[unlikely]]
      begin(op, 0, std::array<const View*, sizeof...(arguments)>{&arguments...});
  }
  ~OpTimer() {
    if (profile_) [[unlikely]]
      end();
  }
  OpTimer(const OpTimer&) = delete;
  OpTimer& operator=(const OpTimer&) = delete;

  void method(const char* name) { method_ = name; }  // which implementation runs; a literal

 private:
  void begin(const char* op, double flops, std::span<const View* const> arguments);
  void end();

  Profile* profile_;
  const char *op_, *method_ = "";
  double flops_;
  const View* arguments_[most_arguments];
  size_t count_;
  Profile::Clock::time_point begin_;
  CudaEvent device_begin_;
};

}  // namespace tw::kernels
