#include <atomic>
#include <cstdlib>
#include <cstring>

#include "kernels/cuda/library.h"
#include "kernels/cuda/tf32.h"

namespace tw::cuda {
namespace {

std::atomic<bool>& allowed() {
  static std::atomic<bool> value = [] {
    const char* text = std::getenv("TW_TF32");
    return text && *text && std::strcmp(text, "0") != 0;
  }();
  return value;
}

}  // namespace

bool tf32_allowed() { return allowed(); }

TW_CUDA_EXPORT tw_cuda_allow_tf32(bool allow) {
  allowed() = allow;
  return nullptr;
}

TW_CUDA_EXPORT tw_cuda_tf32_allowed(bool* allow) {
  *allow = allowed();
  return nullptr;
}

}  // namespace tw::cuda
