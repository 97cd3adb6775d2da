// CudaEvent: a point in the device's queue of work, to time what was queued between two of them.
#pragma once

#include <memory>

namespace tw {

class CudaEvent {
 public:
  CudaEvent() = default;
  // Behind all that was queued so far; none within a captured step (cuda_graph.h).
  static CudaEvent record();

  explicit operator bool() const { return event_ != nullptr; }
  // Waits until the device has come here.
  double seconds_since(const CudaEvent& earlier) const;

 private:
  std::shared_ptr<void> event_;
};

}  // namespace tw
