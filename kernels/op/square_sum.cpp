#include "kernels/op/square_sum.h"

#include <algorithm>
#include <atomic>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/square_sum.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

constexpr int64_t chunk = 16384;

int64_t chunks_of(int64_t numel) { return (numel + chunk - 1) / chunk; }

}  // namespace

int64_t square_sum_workspace_bytes(int64_t numel) {
  return std::max<int64_t>(1, chunks_of(numel)) * static_cast<int64_t>(sizeof(double));
}

double square_sum(std::span<const View> tensors, const View& workspace) {
  double sum = 0;
  if (tensors.empty()) return sum;
  const Device device = tensors[0].device;
  for (const View& x : tensors) {
    device_of("square_sum", {{"the first tensor", tensors[0]}, {"x", x}});
    check_dense("square_sum", {"x", x}, device);
  }
  if (device == Device::cuda) {
    const OpTimer timer("square_sum", tensors[0]);
    cuda::call("tw_cuda_square_sum", tensors.data(), static_cast<int64_t>(tensors.size()), &sum);
    return sum;
  }
  for (const View& x : tensors) sum += square_sum(x, workspace);
  return sum;
}

double square_sum(const View& x, const View& workspace) {
  if (x.device == Device::cuda) return square_sum(std::span(&x, 1), workspace);
  const OpTimer timer("square_sum", x);
  check_dense("square_sum", {"x", x});
  const int64_t n = x.numel(), chunks = chunks_of(n);
  check(workspace && workspace.numel() * static_cast<int64_t>(dtype_size(workspace.dtype)) >=
                         square_sum_workspace_bytes(n),
        "square_sum", "the workspace must have ", square_sum_workspace_bytes(n), " bytes");
  double* partial = static_cast<double*>(workspace.pointer);
  const auto run = active<SquareSumKernels>().square_sum;
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) partial[i] = run(x, i * chunk, std::min(n, (i + 1) * chunk));
  });
  double sum = 0;
  for (int64_t i = 0; i < chunks; ++i) sum += partial[i];
  return sum;
}

bool all_finite(const View& x) {
  check_dense("all_finite", {"x", x});
  std::atomic<bool> finite{true};
  const auto run = active<SquareSumKernels>().all_finite;
  parallel_for(x.numel(), chunk, [&](int64_t begin, int64_t end) {
    if (!run(x, begin, end)) finite.store(false, std::memory_order_relaxed);
  });
  return finite;
}

}  // namespace tw::kernels
