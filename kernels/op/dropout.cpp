// Threads share chunks of a fixed number of elements within each sample.
#include "kernels/op/dropout.h"

#include <algorithm>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/dropout.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

static_assert(sizeof(RandomKey) == 4 * sizeof(int64_t));
constexpr int64_t chunk = 4096;  // elements, a multiple of the four that one Philox block gives

}  // namespace

void dropout(const DropoutParams& params, const View& x, const View& y) {
  const OpTimer timer("dropout", x, y);
  const Device device = device_of("dropout", {{"x", x}, {"y", y}});
  check_same("dropout", {{"x", x}, {"y", y}}, device);
  check(x.rank() >= 1, "dropout", "expected (n, ...), found ", x.shape);
  check(params.p >= 0 && params.p < 1, "dropout", "p must be in [0, 1), found ", params.p);
  const View& key = params.key_in_memory;
  check(!key || (device == Device::cuda && key.device == device && key.dtype == DType::i64 &&
                 key.shape == Shape{4} && key.is_contiguous()),
        "dropout", "a key in memory must be 4 i64 on the arrays' CUDA device, found ", key.shape, " ",
        dtype_name(key.dtype), " on ", device_name(key.device));
  if (device == Device::cuda) return cuda::call("tw_cuda_dropout", params, x, y);
  const int64_t n = x.shape[0], each = n ? x.numel() / n : 0, chunks = (each + chunk - 1) / chunk;
  const int64_t bytes = static_cast<int64_t>(dtype_size(x.dtype));
  const auto run = active<DropoutKernels>().run;
  parallel_for(n * chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t sample = i / chunks, first = i % chunks * chunk, offset = (sample * each + first) * bytes;
      RandomKey key = params.key;
      key.sample += static_cast<uint64_t>(sample);
      key.purpose = Purpose::dropout;
      run(x.dtype, params.p, random_stream(key), first / 4, static_cast<const char*>(x.pointer) + offset,
          static_cast<char*>(y.pointer) + offset, std::min(chunk, each - first));
    }
  });
}

}  // namespace tw::kernels
