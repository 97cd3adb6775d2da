// The plan of each convolution: cuDNN's candidates are run once on zeros and the fastest is kept, in memory
// and in $XDG_CACHE_HOME/tweedie/ (or ~/.cache/tweedie/), one file for each device and cuDNN version. A line
// is the problem and the place of the winner among the candidates. Only time depends on it, and, since
// engines sum in different orders, the last bits: the file makes them repeatable between runs.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "kernels/cuda/cudnn_graph.h"

namespace tw::cuda {

struct PlannedGraph {
  cudnn::Graph graph;
  std::vector<size_t> bytes;  // of each tensor in memory, in the graph's order
  int most = 8;               // candidates; 1: the heuristics' first, and nothing is timed
};

// The plan for the problem that `key` names (no spaces); `describe` is called when it is not known yet. Null:
// cuDNN has no engine for it.
const cudnn::Plan* find_plan(const std::string& key, const std::function<PlannedGraph()>& describe);

// Where choices are kept between runs for this device and version; empty when there is no home folder.
std::string plan_file(const std::string& device, size_t version);

}  // namespace tw::cuda
