#include "tensor/cuda_graph.h"

#include "tensor/cuda_library.h"
#include "tensor/error.h"

namespace tw {

CudaGraph::~CudaGraph() {
  if (!executable_) return;
  try {
    cuda_call("tw_cuda_destroy_graph", executable_);
  } catch (const Error&) {  // at the end of the program the driver may already be gone
  }
}

void CudaGraph::capture(const std::function<void()>& body) {
  check(!executable_, "cuda graph", "holds a step already");
  cuda_call("tw_cuda_begin_capture");
  void* made = nullptr;
  int64_t nodes = 0;
  try {
    body();
  } catch (...) {
    cuda_call("tw_cuda_end_capture", false, &made, &nodes);
    throw;
  }
  cuda_call("tw_cuda_end_capture", true, &made, &nodes);
  executable_ = made;
  nodes_ = nodes;
}

void CudaGraph::launch() const {
  check(executable_, "cuda graph", "holds no step");
  cuda_call("tw_cuda_launch_graph", executable_);
}

}  // namespace tw
