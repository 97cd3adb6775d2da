#include "kernels/op/accumulate.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/accumulate.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {

void accumulate(const View& x, const View& y) {
  const OpTimer timer("accumulate", x, y);
  const Device device = device_of("accumulate", {{"x", x}, {"y", y}});
  check_same("accumulate", {{"x", x}, {"y", y}}, device);
  if (device == Device::cuda) return cuda::call("tw_cuda_accumulate", x, y);
  const auto run = active<AccumulateKernels>().run;
  parallel_for(x.numel(), 16384, [&](int64_t begin, int64_t end) { run(x, y, begin, end); });
}

}  // namespace tw::kernels
