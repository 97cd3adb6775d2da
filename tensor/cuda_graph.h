// CudaGraph: the work of one step on a CUDA device, captured once and then repeated by one launch.
//
//   graph.capture([&] { body(); });   // notes what body queues; nothing is done yet
//   graph.launch();                   // does it, and again
//
// The body must take from the host nothing that changes, and make its tensors in a planned arena that
// outlives the graph (tensor/arena.h): a repeated step has the captured one's addresses and arguments. Run it
// once before, so that caches are filled: packed weights, plans of convolutions, the libraries' handles.
#pragma once

#include <cstdint>
#include <functional>

namespace tw {

class CudaGraph {
 public:
  CudaGraph() = default;
  ~CudaGraph();
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  // Throws what `body` throws, and Error when it waits for the device, copies to or from the host, or makes a
  // tensor that its memory plan does not have; then nothing is captured.
  void capture(const std::function<void()>& body);
  // Queues the captured work. Throws Error when there is none.
  void launch() const;

  bool captured() const { return executable_ != nullptr; }
  int64_t nodes() const { return nodes_; }  // kernels, copies and allocations of scratch memory in a step

 private:
  void* executable_ = nullptr;
  int64_t nodes_ = 0;
};

}  // namespace tw
