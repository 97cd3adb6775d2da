#include "tensor/storage.h"

#include <sys/mman.h>

#include <cstdlib>
#include <mutex>
#include <utility>
#include <vector>

#include "tensor/allocation_label.h"
#include "tensor/cuda_library.h"
#include "tensor/error.h"
#include "tensor/pool.h"

namespace tw {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t map_from = SIZE_MAX;  // the sanitizer guards what malloc returns, not mappings
#else
constexpr size_t map_from = size_t{1} << 17;
#endif
constexpr size_t huge_page = size_t{1} << 21;
constexpr int collapse = 25;  // MADV_COLLAPSE of Linux 6.1, which older C libraries do not name

size_t whole_pages(size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

// A mapping of its own, a large one from a huge page's boundary on, so that it can lie on huge pages, now or
// later; null if refused.
void* map_block(size_t bytes, bool on_huge_pages) {
  const size_t size = whole_pages(bytes), reserved = size + (size >= huge_page ? huge_page : 0);
  void* const mapped = ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* const begin = static_cast<char*>(mapped);
  if (size < huge_page) return begin;
  const size_t skip = (huge_page - reinterpret_cast<uintptr_t>(begin) % huge_page) % huge_page;
  if (skip > 0) ::munmap(begin, skip);
  if (huge_page > skip) ::munmap(begin + skip + size, huge_page - skip);
  if (on_huge_pages) ::madvise(begin + skip, size, MADV_HUGEPAGE);  // ignored by a system without them
  return begin + skip;
}

// Mappings that were given back last, for the next block that they fit: the kernel clears every page of a
// fresh one, which was a fifth of the time of a network's first two steps.
class RecentMappings {
 public:
  explicit RecentMappings(size_t most_bytes) : limit_(most_bytes) { kept_.reserve(most); }

  // Null: none is at least as large as `bytes` and at most an eighth larger.
  void* take(size_t bytes) {
    const size_t size = whole_pages(bytes);
    const std::lock_guard lock(mutex_);
    auto best = kept_.end();
    for (auto it = kept_.begin(); it != kept_.end(); ++it)
      if (it->size >= size && it->size <= size + size / 8 && (best == kept_.end() || it->size < best->size))
        best = it;
    if (best == kept_.end()) return nullptr;
    char* const block = best->begin;
    if (best->size > size) ::munmap(block + size, best->size - size);
    held_ -= best->size;
    kept_.erase(best);
    return block;
  }
  void keep(void* block, size_t bytes) noexcept {
    const size_t size = whole_pages(bytes);
    if (size > limit_) {
      ::munmap(block, size);
      return;
    }
    const std::lock_guard lock(mutex_);
    while (held_ + size > limit_ || kept_.size() == most) {
      ::munmap(kept_.front().begin, kept_.front().size);
      held_ -= kept_.front().size;
      kept_.erase(kept_.begin());
    }
    held_ += size;
    kept_.push_back({static_cast<char*>(block), size});
  }
  void clear() noexcept {
    const std::lock_guard lock(mutex_);
    for (const Mapping& mapping : kept_) ::munmap(mapping.begin, mapping.size);
    kept_.clear();
    held_ = 0;
  }

 private:
  static constexpr size_t most = 64;
  struct Mapping {
    char* begin;
    size_t size;
  };
  size_t limit_;
  std::mutex mutex_;
  std::vector<Mapping> kept_;  // the longest kept first
  size_t held_ = 0;
};

class SystemAllocator : public Allocator {
 public:
  SystemAllocator(bool huge_pages, size_t recent_bytes) : huge_pages_(huge_pages), recent_(recent_bytes) {}
  void* allocate(size_t bytes) override {
    // Sizes that no address space holds are refused here: sanitizers end the process on them.
    void* pointer = nullptr;
    if (bytes >= map_from) pointer = recent_.take(bytes);
    for (int attempt = 0; !pointer && bytes >> 47 == 0 && attempt < 2; ++attempt) {
      if (attempt > 0) trim();
      pointer =
          bytes >= map_from ? map_block(bytes, huge_pages_) : std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    }
    if (!pointer)
      throw Error(ErrorKind::memory, detail::join("out of memory: ", bytes, " bytes asked for a tensor",
                                                  describe_current_allocation()));
    return pointer;
  }
  void release(void* pointer, size_t bytes) noexcept override {
    if (bytes >= map_from)
      recent_.keep(pointer, bytes);
    else
      std::free(pointer);
  }
  void trim() override { recent_.clear(); }

 private:
  bool huge_pages_;
  RecentMappings recent_;
};

thread_local std::shared_ptr<Allocator> scope_allocator[2];  // by device

}  // namespace

std::shared_ptr<Allocator> system_allocator() {
  static const auto allocator = std::make_shared<SystemAllocator>(true, size_t{12} << 20);
  return allocator;
}

std::shared_ptr<Allocator> current_allocator(Device device) {
  const auto& scoped = scope_allocator[static_cast<int>(device)];
  if (scoped) return scoped;
  return device == Device::cpu ? std::shared_ptr<Allocator>(default_pool()) : cuda_pool();
}

std::shared_ptr<Allocator> lasting_allocator(Device device) {
  return device == Device::cpu ? system_allocator() : cuda_pool();
}

std::shared_ptr<Allocator> weight_allocator(Device device) {
  static const auto allocator = std::make_shared<SystemAllocator>(false, size_t{24} << 20);
  return device == Device::cpu ? allocator : cuda_pool();
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

Storage::~Storage() { discard(); }

void Storage::discard() noexcept {
  if (allocator_ && data_) allocator_->release(data_, bytes_ ? bytes_ : 1);
  data_ = nullptr;
  owner_.reset();
}

void Storage::move_to_huge_pages() noexcept {
  if (device_ != Device::cpu || bytes_ < map_from || !data_) return;
  char* const data = static_cast<char*>(data_);
  const size_t skip = (huge_page - reinterpret_cast<uintptr_t>(data) % huge_page) % huge_page;
  if (bytes_ >= skip + huge_page) ::madvise(data + skip, (bytes_ - skip) / huge_page * huge_page, collapse);
}

}  // namespace tw
