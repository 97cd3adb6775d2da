#include "tensor/cuda_library.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "tensor/allocation_label.h"
#include "tensor/error.h"

namespace tw {
namespace {

struct Library {
  void* handle = nullptr;
  std::string problem;
};

Library open_library(int device) {
  std::vector<std::string> places;
  if (const char* given = std::getenv("TW_CUDA_LIBRARY")) {
    places = {given};
  } else {
    const std::string name = "libtweedie_cuda.so";
    std::error_code ignored;
    const std::filesystem::path program =
        std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
    if (!program.empty()) places = {program / name, program / "../lib" / name};
    places.push_back(name);
  }
  Library library;
  for (const std::string& place : places)
    if ((library.handle = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL))) break;
  if (!library.handle) {
    const char* reason = dlerror();
    library.problem =
        detail::join("built without CUDA: the backend cannot be loaded (", reason ? reason : "?", ")");
    return library;
  }
  const auto open = reinterpret_cast<const char* (*)(int)>(dlsym(library.handle, "tw_cuda_open"));
  const char* problem =
      open ? open(device) : "libtweedie_cuda.so is of another version: it has no tw_cuda_open";
  if (problem) library.problem = problem;
  return library;
}

std::atomic<int> chosen_device{0};
std::atomic<bool> opened_already{false};

// Opened once: a driver does not appear while a program runs.
const Library& library() {
  static const Library opened = [] {
    opened_already = true;
    return open_library(chosen_device);
  }();
  return opened;
}

class CudaAllocator : public Allocator {
 public:
  void* allocate(size_t bytes) override {
    void* pointer = nullptr;
    const auto allocate = reinterpret_cast<const char* (*)(size_t, void**)>(cuda_symbol("tw_cuda_allocate"));
    if (const char* problem = allocate(bytes, &pointer))
      throw Error(ErrorKind::memory,
                  detail::join("out of device memory: ", bytes, " bytes asked for a tensor",
                               describe_current_allocation(), ": ", problem));
    return pointer;
  }
  void release(void* pointer, size_t bytes) noexcept override {
    // Freeing cannot be refused; at the end of the program the driver may already be gone.
    if (const auto function =
            reinterpret_cast<const char* (*)(void*, size_t)>(dlsym(library().handle, "tw_cuda_release")))
      function(pointer, bytes);
  }
  void trim() override { cuda_call("tw_cuda_trim"); }
  Device device() const override { return Device::cuda; }
};

enum CopyDirection { host_to_device, device_to_host, within_device };

}  // namespace

void use_cuda_device(int index) {
  if (index == chosen_device) return;
  check(index >= 0, "cuda", "a device's number must not be negative, found ", index);
  check(!opened_already, "cuda", "device ", chosen_device.load(), " is in use, and ", index,
        " was asked for: a program works on one device");
  chosen_device = index;
}

std::string cuda_unavailable_reason() { return library().problem; }

void* cuda_symbol(const char* name) {
  const Library& opened = library();
  if (!opened.problem.empty()) throw Error(ErrorKind::data, "cuda: " + opened.problem);
  void* symbol = dlsym(opened.handle, name);
  if (!symbol) throw Error(ErrorKind::data, detail::join("cuda: the backend has no function ", name));
  return symbol;
}

std::shared_ptr<Allocator> cuda_pool() {
  cuda_symbol("tw_cuda_allocate");
  static const auto pool = std::make_shared<CudaAllocator>();
  return pool;
}

CudaMemory cuda_memory() {
  CudaMemory memory;
  cuda_call("tw_cuda_memory", &memory);
  return memory;
}

void cuda_reset_peak() { cuda_call("tw_cuda_reset_peak"); }

void cuda_allow_tf32(bool allow) { cuda_call("tw_cuda_allow_tf32", allow); }

bool cuda_tf32_allowed() {
  bool allowed = false;
  cuda_call("tw_cuda_tf32_allowed", &allowed);
  return allowed;
}

void cuda_wait() { cuda_call("tw_cuda_wait"); }

void cuda_copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes) {
  const CopyDirection direction = from_device == Device::cpu ? host_to_device
                                  : to_device == Device::cpu ? device_to_host
                                                             : within_device;
  cuda_call("tw_cuda_copy", to, from, bytes, static_cast<int>(direction));
}

void cuda_copy_within(const View& to, const View& from) { cuda_call("tw_cuda_copy_within", &to, &from); }

void cuda_fill(const View& to, double value) {
  cuda_call("tw_cuda_fill", to.pointer, static_cast<int>(to.dtype), to.numel(), value);
}

}  // namespace tw
