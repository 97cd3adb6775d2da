// A step of a loop as a CUDA graph: its work is noted once, as it is queued, and then repeated by one call.
//
// What the work reads and writes keeps its place: tensors come from a planned arena, and what changes from
// step to step is written to the same memory before each launch. Scratch memory becomes nodes of the graph.
#include "kernels/cuda/memory.h"

namespace tw::cuda {

TW_CUDA_EXPORT tw_cuda_begin_capture() {
  if (capturing()) return "a step is being captured already";
  // Of this thread's work: others may allocate and copy meanwhile.
  TW_CUDA_TRY(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal));
  return nullptr;
}

// *executable is null, and the captured work forgotten, if `keep` is false. *nodes: launches and copies.
TW_CUDA_EXPORT tw_cuda_end_capture(bool keep, void** executable, int64_t* nodes) {
  *executable = nullptr;
  *nodes = 0;
  cudaGraph_t graph = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream(), &graph);
  release_kept();
  if (!keep) {
    cudaGetLastError();  // the step has failed, which may have made the capture invalid
    if (graph) cudaGraphDestroy(graph);
    return nullptr;
  }
  if (ended != cudaSuccess) {
    cudaGetLastError();
    return problem("capturing a step", ended);
  }
  size_t count = 0;
  cudaGraphExec_t made = nullptr;
  cudaError_t status = cudaGraphGetNodes(graph, nullptr, &count);
  if (status == cudaSuccess) status = cudaGraphInstantiate(&made, graph, 0);
  cudaGraphDestroy(graph);
  if (status != cudaSuccess) {
    cudaGetLastError();
    return problem("cudaGraphInstantiate", status);
  }
  *executable = made;
  *nodes = static_cast<int64_t>(count);
  return nullptr;
}

TW_CUDA_EXPORT tw_cuda_launch_graph(void* executable) {
  TW_CUDA_TRY(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable), stream()));
  return nullptr;
}

TW_CUDA_EXPORT tw_cuda_destroy_graph(void* executable) {
  TW_CUDA_TRY(cudaStreamSynchronize(stream()));  // it may still run
  TW_CUDA_TRY(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable)));
  return nullptr;
}

}  // namespace tw::cuda
