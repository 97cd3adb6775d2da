// What the CUDA backend holds of the device's memory, in bytes.
#pragma once

#include <cstdint>

namespace tw {

struct CudaMemory {
  int64_t tensors = 0, scratch = 0;  // handed out now
  int64_t peak = 0;                  // the most that both were at once, since the last reset
  int64_t reserved = 0;              // taken from the driver: the above, and what is kept for reuse
  int64_t free = 0, total = 0;       // of the device, with what other programs hold
};

}  // namespace tw
