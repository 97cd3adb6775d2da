#include "tensor/cuda_event.h"

#include "tensor/cuda_library.h"
#include "tensor/error.h"

namespace tw {

CudaEvent CudaEvent::record() {
  void* made = nullptr;
  cuda_call("tw_cuda_record_event", &made);
  CudaEvent result;
  if (!made) return result;
  result.event_ = std::shared_ptr<void>(made, [](void* event) {
    try {
      cuda_call("tw_cuda_destroy_event", event);
    } catch (const Error&) {  // at the end of the program the driver may already be gone
    }
  });
  return result;
}

double CudaEvent::seconds_since(const CudaEvent& earlier) const {
  check(event_ && earlier.event_, "cuda event", "was not recorded");
  double seconds = 0;
  cuda_call("tw_cuda_event_seconds", earlier.event_.get(), event_.get(), &seconds);
  return seconds;
}

}  // namespace tw
