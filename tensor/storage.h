// Storage: one reference-counted block of memory, and the allocators that blocks come from.
//
// Which allocator a new tensor uses is decided by the innermost AllocatorScope of the calling thread, so that
// a sampling loop can be planned (see arena.h) without passing an allocator through every op.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "tensor/device.h"

namespace tw {

// Blocks are aligned to 64 bytes. allocate throws Error{memory} saying how much was asked for, and for which
// tensor. An allocator may be used from several threads.
class Allocator {
 public:
  virtual ~Allocator() = default;
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* pointer, size_t bytes) noexcept = 0;
  virtual void trim() {}  // gives memory that is kept for reuse back to where it came from
  virtual Device device() const { return Device::cpu; }  // where the blocks are
};

// Memory from the system, the bottom of every other allocator. Blocks of 128 KiB and more are mapped one by
// one, large ones on huge pages where the system grants them. The 12 MiB that were released last are kept for
// blocks of their size; the rest goes back to the system at once.
std::shared_ptr<Allocator> system_allocator();

// The allocator of the calling thread for a device: the innermost scope's that is for that device, else the
// process-wide caching pool (pool.h). Throws for Device::cuda when there is no CUDA backend or device.
std::shared_ptr<Allocator> current_allocator(Device device = Device::cpu);

// Memory for what outlives the steps of a loop, below every scope: the system's, or the pool of device
// memory. Throws like current_allocator.
std::shared_ptr<Allocator> lasting_allocator(Device device);

// The same for the weights of a network that is only evaluated, as read and as packed: on the CPU on small
// pages, which a program has sooner; those that are used often are moved (docs/handbook/memory.md). 24 MiB of
// it are kept.
std::shared_ptr<Allocator> weight_allocator(Device device = Device::cpu);

// Tensors that the calling thread makes on allocator->device() come from `allocator` while the scope lasts.
class AllocatorScope {
 public:
  explicit AllocatorScope(std::shared_ptr<Allocator> allocator);
  ~AllocatorScope();
  AllocatorScope(const AllocatorScope&) = delete;
  AllocatorScope& operator=(const AllocatorScope&) = delete;

 private:
  Device device_;
  std::shared_ptr<Allocator> previous_;
};

class Storage {
 public:
  Storage(size_t bytes, Device device);  // from current_allocator()
  Storage(void* borrowed, size_t bytes,
          std::shared_ptr<void> owner);  // e.g. a memory-mapped file; keeps owner alive
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

  // Gives the memory back while tensors still refer to it: they keep their shapes, reading them throws.
  void discard() noexcept;
  bool discarded() const { return data_ == nullptr; }
  // Moves host memory, as far as it is whole ones, to huge pages: steps that read it again and again are
  // faster. Takes up to some milliseconds for 2 MiB; does nothing where the system cannot.
  void move_to_huge_pages() noexcept;

  // Counts in-place changes, so that autograd notices when a saved tensor has been overwritten
  // and a layer notices that its packed weights are stale.
  uint64_t version() const { return version_; }
  void bump_version() { ++version_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Device device_ = Device::cpu;
  uint64_t version_ = 0;
  std::shared_ptr<Allocator> allocator_;  // null for borrowed memory
  std::shared_ptr<void> owner_;
};

}  // namespace tw
