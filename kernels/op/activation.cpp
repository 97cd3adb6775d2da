#include "kernels/op/activation.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/activation.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

constexpr int64_t grain = 8192;  // elements a thread should have at least: about 2 us of work

}  // namespace

void activation_forward(const ActivationParams& params, const View& x, const View& y) {
  const OpTimer timer("activation_forward", x, y);
  const Device device = device_of("activation_forward", {{"x", x}, {"y", y}});
  check_same("activation_forward", {{"x", x}, {"y", y}}, device);
  if (device == Device::cuda) return cuda::call("tw_cuda_activation_forward", params, x, y);
  const auto run = active<ActivationKernels>().forward;
  parallel_for(x.numel(), grain, [&](int64_t begin, int64_t end) { run(params, x, y, begin, end); });
}

void activation_backward(const ActivationParams& params, const View& x, const View& dy, const View& dx) {
  const OpTimer timer("activation_backward", x, dy, dx);
  const Device device = device_of("activation_backward", {{"x", x}, {"dy", dy}, {"dx", dx}});
  check_same("activation_backward", {{"x", x}, {"dy", dy}, {"dx", dx}}, device);
  if (device == Device::cuda) return cuda::call("tw_cuda_activation_backward", params, x, dy, dx);
  const auto run = active<ActivationKernels>().backward;
  parallel_for(x.numel(), grain, [&](int64_t begin, int64_t end) { run(params, x, dy, dx, begin, end); });
}

}  // namespace tw::kernels
