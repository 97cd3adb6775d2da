#include "kernels/op/softmax.h"

#include <algorithm>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/softmax.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

// Rows of x (..., c), and how many are worth a thread.
struct Rows {
  int64_t count = 0, grain = 1;
  Rows(const char* op, const View& x) {
    check(x.rank() >= 1, op, "x must have at least one dimension");
    const int64_t c = x.shape.back();
    if (c == 0) return;
    count = x.numel() / c;
    grain = std::max<int64_t>(1, 4096 / c);
  }
};

}  // namespace

void softmax_forward(const View& x, const View& y) {
  const OpTimer timer("softmax_forward", x, y);
  const Device device = device_of("softmax_forward", {{"x", x}, {"y", y}});
  check_same("softmax_forward", {{"x", x}, {"y", y}}, device);
  const Rows rows("softmax_forward", x);
  if (device == Device::cuda) return cuda::call("tw_cuda_softmax_forward", x, y);
  const auto run = active<SoftmaxKernels>().forward;
  parallel_for(rows.count, rows.grain, [&](int64_t begin, int64_t end) { run(x, y, begin, end); });
}

void softmax_backward(const View& y, const View& dy, const View& dx) {
  const OpTimer timer("softmax_backward", y, dy, dx);
  const Device device = device_of("softmax_backward", {{"y", y}, {"dy", dy}, {"dx", dx}});
  check_same("softmax_backward", {{"y", y}, {"dy", dy}, {"dx", dx}}, device);
  const Rows rows("softmax_backward", y);
  if (device == Device::cuda) return cuda::call("tw_cuda_softmax_backward", y, dy, dx);
  const auto run = active<SoftmaxKernels>().backward;
  parallel_for(rows.count, rows.grain, [&](int64_t begin, int64_t end) { run(y, dy, dx, begin, end); });
}

}  // namespace tw::kernels
