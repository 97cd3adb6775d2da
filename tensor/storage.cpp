#include "tensor/storage.h"

#include <cstdlib>
#include <utility>

#include "tensor/allocation_label.h"
#include "tensor/cuda_library.h"
#include "tensor/error.h"
#include "tensor/pool.h"

namespace tw {
namespace {

class SystemAllocator : public Allocator {
 public:
  void* allocate(size_t bytes) override {
    // Sizes that no address space holds are refused here: sanitizers end the process on them.
    void* pointer = bytes >> 47 ? nullptr : std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!pointer)
      throw Error(ErrorKind::memory, detail::join("out of memory: ", bytes, " bytes asked for a tensor",
                                                  describe_current_allocation()));
    return pointer;
  }
  void release(void* pointer, size_t) noexcept override { std::free(pointer); }
};

thread_local std::shared_ptr<Allocator> scope_allocator[2];  // by device

}  // namespace

std::shared_ptr<Allocator> system_allocator() {
  static const auto allocator = std::make_shared<SystemAllocator>();
  return allocator;
}

std::shared_ptr<Allocator> current_allocator(Device device) {
  const auto& scoped = scope_allocator[static_cast<int>(device)];
  if (scoped) return scoped;
  return device == Device::cpu ? std::shared_ptr<Allocator>(default_pool()) : cuda_pool();
}

AllocatorScope::AllocatorScope(std::shared_ptr<Allocator> allocator) : device_(allocator->device()) {
  previous_ = std::exchange(scope_allocator[static_cast<int>(device_)], std::move(allocator));
}
AllocatorScope::~AllocatorScope() { scope_allocator[static_cast<int>(device_)] = std::move(previous_); }

Storage::Storage(size_t bytes, Device device)
    : bytes_(bytes), device_(device), allocator_(current_allocator(device)) {
  data_ = allocator_->allocate(bytes ? bytes : 1);
}

Storage::Storage(void* borrowed, size_t bytes, std::shared_ptr<void> owner)
    : data_(borrowed), bytes_(bytes), owner_(std::move(owner)) {}

Storage::~Storage() {
  if (allocator_) allocator_->release(data_, bytes_ ? bytes_ : 1);
}

}  // namespace tw
