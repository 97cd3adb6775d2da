// Pool: a caching allocator. Released blocks are kept by size and handed out again.
#pragma once

#include <cstddef>
#include <memory>

#include "tensor/storage.h"

namespace tw {

struct PoolStatistics {
  size_t in_use = 0;       // bytes handed out now
  size_t peak_in_use = 0;  // the most that ever was
  size_t cached = 0;       // bytes kept for reuse
};

// Thread-safe. When the allocator below is out of memory, cached blocks are given back and it is asked again.
// Sizes are rounded up to a quarter of a power of two, so at most 25 % of a block is unused.
class Pool : public Allocator {
 public:
  explicit Pool(std::shared_ptr<Allocator> below);
  ~Pool() override;
  void* allocate(size_t bytes) override;
  void release(void* pointer, size_t bytes) noexcept override;
  void trim() override;
  Device device() const override;
  PoolStatistics statistics() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::shared_ptr<Pool> default_pool();

}  // namespace tw
