#include "tensor/pool.h"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "tensor/error.h"

namespace tw {
namespace {

// Size classes: four per power of two, and never below 64 bytes.
size_t size_class(size_t bytes) {
  if (bytes <= 256) return (bytes + 63) / 64 * 64;
  if (bytes >> 62) return bytes;  // cannot be met; rounding up might overflow
  const size_t step = std::bit_floor(bytes) / 4;
  return (bytes + step - 1) / step * step;
}

}  // namespace

struct Pool::State {
  std::shared_ptr<Allocator> below;
  mutable std::mutex mutex;
  std::map<size_t, std::vector<void*>> free_blocks;
  PoolStatistics statistics;

  void give_back() {
    for (auto& [size, blocks] : free_blocks)
      for (void* pointer : blocks) below->release(pointer, size);
    free_blocks.clear();
    statistics.cached = 0;
    below->trim();
  }
};

Pool::Pool(std::shared_ptr<Allocator> below) : state_(std::make_unique<State>()) {
  state_->below = std::move(below);
}

Pool::~Pool() { trim(); }

void* Pool::allocate(size_t bytes) {
  const size_t size = size_class(bytes);
  std::unique_lock lock(state_->mutex);
  PoolStatistics& statistics = state_->statistics;
  const auto found = state_->free_blocks.find(size);
  void* pointer = nullptr;
  if (found != state_->free_blocks.end() && !found->second.empty()) {
    pointer = found->second.back();
    found->second.pop_back();
    statistics.cached -= size;
  } else {
    try {
      pointer = state_->below->allocate(size);
    } catch (const Error&) {
      if (statistics.cached == 0) throw;
      state_->give_back();
      pointer = state_->below->allocate(size);
    }
  }
  statistics.in_use += size;
  statistics.peak_in_use = std::max(statistics.peak_in_use, statistics.in_use);
  return pointer;
}

void Pool::release(void* pointer, size_t bytes) noexcept {
  const size_t size = size_class(bytes);
  std::lock_guard lock(state_->mutex);
  state_->free_blocks[size].push_back(pointer);
  state_->statistics.in_use -= size;
  state_->statistics.cached += size;
}

void Pool::trim() {
  std::lock_guard lock(state_->mutex);
  state_->give_back();
}

Device Pool::device() const { return state_->below->device(); }

PoolStatistics Pool::statistics() const {
  std::lock_guard lock(state_->mutex);
  return state_->statistics;
}

std::shared_ptr<Pool> default_pool() {
  static const auto pool = std::make_shared<Pool>(system_allocator());
  return pool;
}

}  // namespace tw
