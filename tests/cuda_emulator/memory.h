// The memory of the emulated device: a region of its own that can be touched only while queued work runs, so
// that an op which reads a device tensor on the host ends with a segmentation fault, as it would with a GPU.
// Fresh memory is full of NaN, and what lies behind each block is checked when it is given back.
#pragma once

#include <cstddef>

namespace emulator {

constexpr size_t device_bytes = size_t{4} << 30;

void* allocate(size_t bytes);  // null: out of memory
bool release(void* pointer);   // false: it is not a block
size_t free_bytes();

// While one lives the region is open.
class Access {
 public:
  Access();
  ~Access();
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};

}  // namespace emulator
