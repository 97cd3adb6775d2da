#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <unordered_map>

#include "kernels/cuda/plan_cache.h"
#include "kernels/cuda/scratch.h"
#include "kernels/cuda/tf32.h"

namespace tw::cuda {
namespace {

constexpr int runs = 3;  // timed, after one that is not

std::string device_name() {
  int device = 0;
  cudaDeviceProp properties;
  require(cudaGetDevice(&device), "cudaGetDevice");
  require(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  return properties.name;
}

struct Cache {
  std::string file;
  std::unordered_map<std::string, size_t> choices;                    // as read from the file
  std::unordered_map<std::string, std::optional<cudnn::Plan>> plans;  // of this run
};

Cache& cache() {
  static Cache opened = [] {
    Cache made;
    made.file = plan_file(device_name(), cudnn::version());
    std::ifstream lines(made.file);
    std::string key;
    size_t choice = 0;
    while (lines >> key >> choice) made.choices[key] = choice;
    return made;
  }();
  return opened;
}

class Stopwatch {
 public:
  Stopwatch() {
    require(cudaEventCreate(&begin_), "cudaEventCreate");
    require(cudaEventCreate(&end_), "cudaEventCreate");
  }
  ~Stopwatch() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  void start() { require(cudaEventRecord(begin_, stream()), "cudaEventRecord"); }
  float milliseconds() {
    float passed = 0;
    require(cudaEventRecord(end_, stream()), "cudaEventRecord");
    require(cudaEventSynchronize(end_), "cudaEventSynchronize");
    require(cudaEventElapsedTime(&passed, begin_, end_), "cudaEventElapsedTime");
    return passed;
  }

 private:
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

float measure(const cudnn::Plan& plan, const std::vector<void*>& pointers, Stopwatch& watch) {
  const Scratch workspace("a plan that is measured", static_cast<size_t>(plan.workspace_bytes()));
  plan.run(cudnn::handle(stream()), pointers, workspace.get());
  watch.start();
  for (int i = 0; i < runs; ++i) plan.run(cudnn::handle(stream()), pointers, workspace.get());
  return watch.milliseconds();
}

// A candidate that fails on the device loses.
size_t fastest(const std::vector<cudnn::Plan>& candidates, const std::vector<size_t>& bytes) {
  std::vector<std::unique_ptr<Scratch>> buffers;
  std::vector<void*> pointers;
  for (const size_t size : bytes) {
    buffers.push_back(std::make_unique<Scratch>("measuring plans", size));
    pointers.push_back(buffers.back()->get());
    require(cudaMemsetAsync(pointers.back(), 0, size, stream()), "cudaMemsetAsync");
  }
  Stopwatch watch;
  size_t best = 0;
  float least = -1;
  for (size_t i = 0; i < candidates.size(); ++i) {
    try {
      const float time = measure(candidates[i], pointers, watch);
      if (least < 0 || time < least) least = time, best = i;
    } catch (const Error&) {
      cudaGetLastError();
    }
  }
  return best;
}

}  // namespace

std::string plan_file(const std::string& device, size_t version) {
  namespace fs = std::filesystem;
  fs::path folder;
  if (const char* cache_home = std::getenv("XDG_CACHE_HOME"); cache_home && *cache_home)
    folder = cache_home;
  else if (const char* home = std::getenv("HOME"); home && *home)
    folder = fs::path(home) / ".cache";
  else
    return {};
  std::string name = detail::join("cudnn_", version, "_", device, ".txt");
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.') c = '_';
  return folder / "tweedie" / name;
}

const cudnn::Plan* find_plan(const std::string& key, const std::function<PlannedGraph()>& describe) {
  Cache& known = cache();
  if (const auto found = known.plans.find(key); found != known.plans.end())
    return found->second ? &*found->second : nullptr;
  PlannedGraph problem = describe();
  cudnn::Target target;
  target.handle = cudnn::handle(stream());
  std::vector<cudnn::Plan> candidates = problem.graph.plans(target, tf32_allowed(), problem.most);
  if (candidates.empty()) {
    known.plans.emplace(key, std::nullopt);
    return nullptr;
  }
  size_t choice = 0;
  if (const auto kept = known.choices.find(key); kept != known.choices.end()) {
    choice = std::min(kept->second, candidates.size() - 1);
  } else if (candidates.size() > 1 && !capturing()) {
    choice = fastest(candidates, problem.bytes);
    // A cache that cannot be written costs time only.
    std::error_code ignored;
    if (!known.file.empty())
      std::filesystem::create_directories(std::filesystem::path(known.file).parent_path(), ignored);
    std::ofstream(known.file, std::ios::app) << key + " " + std::to_string(choice) + "\n";
  }
  return &*known.plans.emplace(key, std::move(candidates[choice])).first->second;
}

}  // namespace tw::cuda
