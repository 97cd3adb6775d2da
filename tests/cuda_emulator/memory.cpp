#include "tests/cuda_emulator/memory.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace emulator {
namespace {

constexpr size_t alignment = 512, fence_bytes = 512;
constexpr int fresh = 0xff, fence = 0xa5;  // four or eight bytes of 0xff are a NaN of every float type

struct Region {
  std::recursive_mutex mutex;
  char* begin = static_cast<char*>(
      mmap(nullptr, device_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  size_t used = 0;  // bytes from begin that were ever given out
  size_t held = 0;  // bytes of the blocks that are out
  int open = 0;
  std::map<size_t, std::vector<char*>> kept;    // given back, by size
  std::unordered_map<char*, size_t> asked_for;  // of the blocks that are out
};

Region& region() {
  static Region* const made = new Region;  // never destroyed: tensors may be released at the very end
  return *made;
}

size_t whole(size_t bytes) { return (bytes + fence_bytes + alignment - 1) / alignment * alignment; }

void protect(const Region& r, int protection) {
  if (r.used > 0 && mprotect(r.begin, r.used, protection) != 0) {
    std::perror("cuda_emulator: mprotect");
    std::abort();
  }
}

}  // namespace

Access::Access() {
  Region& r = region();
  r.mutex.lock();
  if (r.open++ == 0) protect(r, PROT_READ | PROT_WRITE);
}

Access::~Access() {
  Region& r = region();
  if (--r.open == 0) protect(r, PROT_NONE);
  r.mutex.unlock();
}

void* allocate(size_t bytes) {
  Region& r = region();
  const size_t size = whole(bytes);
  if (size < bytes || size > device_bytes) return nullptr;
  const std::lock_guard lock(r.mutex);
  char* block = nullptr;
  if (auto& same = r.kept[size]; !same.empty()) {
    block = same.back();
    same.pop_back();
  } else {
    const size_t pages = (size + 4095) / 4096 * 4096;
    if (r.used + pages > device_bytes) return nullptr;
    block = r.begin + r.used;
    r.used += pages;
    if (r.open > 0) protect(r, PROT_READ | PROT_WRITE);
  }
  r.held += size;
  r.asked_for[block] = bytes;
  const Access access;
  std::memset(block, fresh, bytes);
  std::memset(block + bytes, fence, size - bytes);
  return block;
}

bool release(void* pointer) {
  Region& r = region();
  const std::lock_guard lock(r.mutex);
  const auto found = r.asked_for.find(static_cast<char*>(pointer));
  if (found == r.asked_for.end()) return false;
  const size_t bytes = found->second, size = whole(bytes);
  const Access access;
  for (size_t i = bytes; i < size; ++i)
    if (found->first[i] != static_cast<char>(fence)) {
      std::fprintf(stderr, "cuda_emulator: byte %zu of a block of %zu was written\n", i, bytes);
      std::abort();
    }
  r.kept[size].push_back(found->first);
  r.held -= size;
  r.asked_for.erase(found);
  return true;
}

size_t free_bytes() {
  Region& r = region();
  const std::lock_guard lock(r.mutex);
  return device_bytes - r.held;
}

}  // namespace emulator
