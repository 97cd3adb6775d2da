// Device memory for the duration of a call: from the pool of memory.h, which can be captured in a graph.
#pragma once

#include "kernels/cuda/library.h"
#include "tensor/error.h"

namespace tw::cuda {

class Scratch {
 public:
  // Throws Error{memory} naming `op` and the number of bytes.
  Scratch(const char* op, size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* get() const { return pointer_; }

 private:
  size_t bytes_ = 0;
  void* pointer_ = nullptr;  // null for 0 bytes
};

// Throws Error with the failed call's text: what a function that is not exported does instead of returning
// it.
inline void require(const char* text) {
  if (text) throw Error(ErrorKind::data, text);
}
inline void require(cudaError_t status, const char* call) {
  if (status != cudaSuccess) require(problem(call, status));
}

// Runs f and returns null, or the text of the tw::Error that it threw: for exported functions.
template <class F>
const char* caught(F f) {
  static thread_local std::string text;
  try {
    f();
    return nullptr;
  } catch (const std::exception& error) {
    text = error.what();
    return text.c_str();
  }
}

}  // namespace tw::cuda
